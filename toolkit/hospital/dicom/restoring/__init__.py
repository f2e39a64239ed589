"""The way back: the vault, encrypted attributes, the predecessor's side files."""
