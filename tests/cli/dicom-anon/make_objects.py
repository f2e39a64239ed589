"""Write three small MR images of two patients into the directory that is named."""

import pathlib
import sys

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

directory = pathlib.Path(sys.argv[1])
dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
for number, patient in enumerate(("Planted^Anna", "Planted^Anna", "Planted^Boris"), 1):
    dataset.PatientName, dataset.PatientID = patient, patient[8]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.9.{number}"
    dataset.ImageComments = f"{patient} was nervous"
    dataset.save_as(directory / f"{number}.dcm")
