"""DICOM as bytes: files, elements, transfer syntaxes, character sets, and the way back from a change."""
