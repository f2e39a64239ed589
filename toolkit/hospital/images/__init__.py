"""Sending de-identified images to the data centre over the DICOM protocol."""
