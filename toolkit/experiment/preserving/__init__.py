"""Experiments kept so that they can be repeated: run records, inputs, outputs and code as a Process Run Crate in a BagIt bag."""
