"""Photo to pose: terrain, panoramas, photographs, spheres and their correlation."""
