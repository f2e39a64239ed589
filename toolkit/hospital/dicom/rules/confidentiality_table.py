"""Table E.1-1 of PS3.15 under chosen options, and what it leaves to common sense: whose values identify, which UIDs are of classes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from toolkit.hospital.dicom.encoding.dictionary import DATA, mask_of, tag_of

EDITIONS = ("2024e", "2026c")
# The options that have a column in the table: code and meaning of CID 7050.
OPTIONS = {
    "clean_graphics": ("113103", "Clean Graphics Option"),
    "clean_structured": ("113104", "Clean Structured Content Option"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    "retain_dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "retain_patient": ("113108", "Retain Patient Characteristics Option"),
    "retain_device": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution": ("113112", "Retain Institution Identity Option"),
}
# Attributes whose value would tell who the patient is, or who treated them where, if it stood in a text; names and dates are told by
# their VR. Left out on purpose: words that occur in any text (countries, religions, occupations, station names such as CT). What the table
# does not list of these (retired attributes, birth dates in other calendars, a hospital's OID) is treated as if it did.
IDENTIFYING = """
    AccessionNumber StudyID PatientID IssuerOfPatientID OtherPatientIDs PatientAddress PatientTelephoneNumbers
    PatientTelecomInformation InsurancePlanIdentification MedicalRecordLocator ResponsibleOrganization CameraOwnerName
    InstitutionName InstitutionAddress InstitutionalDepartmentName ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers
    ClinicalTrialSubjectID ClinicalTrialSubjectReadingID RequestingService AdmissionID ServiceEpisodeID CurrentPatientLocation
    PatientInstitutionResidence ScheduledPatientInstitutionResidence ScheduledProcedureStepID PerformedProcedureStepID
    RequestedProcedureID PersonAddress PersonTelephoneNumbers PersonTelecomInformation OrderEntererLocation OrderCallbackPhoneNumber
    OrderCallbackTelecomInformation PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
    PlacerOrderNumberImagingServiceRequestRetired FillerOrderNumberImagingServiceRequestRetired PlacerOrderNumberProcedure
    FillerOrderNumberProcedure SpecimenAccessionNumber ContainerIdentifier SpecimenIdentifier SlideIdentifier HumanPerformerOrganization
    VerifyingOrganization AddressTrial TelephoneNumberTrial ResultsID InterpretationID DistributionAddress BarcodeValue
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar LocalNamespaceEntityID UniversalEntityID
    HL7InstanceIdentifier NTPSourceAddress ContactDisplayName
"""
# UIDs that are the same in every hospital: kinds of things, never things. Every other unlisted UID is mapped, or references between objects
# would break.
CLASS_UIDS = (
    "SOPClass",
    "SOPClasses",
    "TransferSyntax",
    "CodingScheme",
    "ContextUID",
    "ContextGroup",
    "MappingResource",
    "ImplementationClass",
    "CreatorVersion",
    "InformationCreator",
    "ColorPalette",
    "SegmentationTemplate",
    "SelectorUIValue",
)


@dataclass(frozen=True)
class Row:
    """A row under the options: `code` is what the basic profile says, `option` K, C or nothing, `date` when C means a shift."""

    code: str
    option: str = ""
    date: bool = False


@cache
def _table() -> list[dict[str, str]]:
    with open(DATA / "dicom_profile.csv", newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def read_table(edition: str, on: frozenset[str]) -> tuple[dict[int, Row], list[tuple[int, int, Row]]]:
    """Rows by tag, and rows by mask, of one edition under the options `on`."""
    rows, masks = {}, []
    for entry in _table():
        code = entry[f"basic_{edition}"]
        if not code or entry["tag"].startswith("g"):  # not in this edition; private attributes
            continue
        said = {entry[name] for name in on if entry[name]}
        date = "modified_dates" in on and bool(entry["modified_dates"])
        # Cleaning is stricter than keeping, and a device's date that is not moved would tell how far the others were.
        row = Row(code, "C" if date or "C" in said else "K" if said else "", date)
        if "x" in entry["tag"]:
            masks.append((*mask_of(entry["tag"]), row))
        else:
            rows[int(entry["tag"], 16)] = row
    return rows, masks


@cache
def identifying() -> frozenset[int]:
    """The tags of IDENTIFYING."""
    return frozenset(tag for tag in map(tag_of, IDENTIFYING.split()) if tag is not None) | {0x00100012}  # NameToUse is new in 2026c
