"""The data centre's receiver of images over the DICOM protocol."""
