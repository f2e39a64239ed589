"""Text that is burned into pixels: who may have it, where it stands, how it is blanked."""
