"""A small image with the words KEYWORD=VALUE, as FILE."""

import sys

from pydicom.dataset import Dataset, FileMetaDataset

image = Dataset()
image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.2", "2.25.3"
for word in sys.argv[2:]:
    setattr(image, *word.split("="))
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
image.file_meta.MediaStorageSOPClassUID, image.file_meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
image.save_as(sys.argv[1], enforce_file_format=True)
