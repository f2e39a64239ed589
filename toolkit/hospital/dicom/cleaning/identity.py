"""What an object's identifying values are searched as: words, numbers, days and UIDs, and the cheap signs that one of them may be there."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from toolkit.hospital.dicom.cleaning import spellings
from toolkit.hospital.dicom.cleaning.spellings import fold, letter_runs, spaced
from toolkit.hospital.dicom.cleaning.vocabulary import GENERIC, MONTHS
from toolkit.hospital.dicom.encoding.charsets import readings

# Of what kind the values of an attribute are; those of all others are taken for ids.
_INSTITUTIONS = frozenset(
    # InstitutionName, InstitutionalDepartmentName, IssuerOfPatientID, ResponsibleOrganization, ClinicalTrialSponsorName,
    # ClinicalTrialSiteName, RequestingService, HumanPerformerOrganization, VerifyingOrganization
    (0x00080080, 0x00081040, 0x00100021, 0x00102299, 0x00120010, 0x00120031, 0x00321033, 0x00404036, 0x0040A027)
)
_ADDRESSES = frozenset(
    # InstitutionAddress, ReferringPhysicianAddress, PatientAddress, RegionOfResidence, ScheduledPatientInstitutionResidence,
    # CurrentPatientLocation, PatientInstitutionResidence, PersonAddress, OrderEntererLocation, AddressTrial, DistributionAddress
    (0x00080081, 0x00080092, 0x00101040, 0x00102152, 0x0038001E, 0x00380300, 0x00380400, 0x00401102, 0x00402009, 0x0040A353, 0x4008011A)
)
_PHONES = frozenset(
    # ReferringPhysicianTelephoneNumbers, PatientTelephoneNumbers, PatientTelecomInformation, PersonTelephoneNumbers,
    # PersonTelecomInformation, OrderCallbackPhoneNumber, OrderCallbackTelecomInformation, TelephoneNumberTrial
    (0x00080094, 0x00102154, 0x00102155, 0x00401103, 0x00401104, 0x00402010, 0x00402011, 0x0040A354)
)
_NAMES = frozenset((0x00100012, 0x0016004D, 0x0074100C))  # NameToUse, CameraOwnerName, ContactDisplayName: names that are not of VR PN
_BIRTH_DATE = 0x00100030
_TEXTS = frozenset(("AE", "LO", "LT", "SH", "ST", "UC", "UN", "UR", "UT"))
BETWEEN = r"[\s^,;:._/=~'\u2019\u00b7\u30fb\-\u2013]{0,3}"
_HONORIFICS = "先生|女士|小姐|さん|様|氏|君|殿|님|씨|선생"


@dataclass
class Identity:
    """The spellings of one patient's (or series') identifying values; equal values give the same object."""

    words: dict[str, frozenset[str]] = field(default_factory=dict)  # cut as whole words; what is cut beside them
    capitals: set[str] = field(default_factory=set)  # acronyms, folded: cut where they stand in capitals
    # regular expressions over folded text; the letters, or the digits with the separators left out, without which none matches
    patterns: dict[str, str] = field(default_factory=dict)
    days: set[tuple[int, int, int]] = field(default_factory=set)
    births: set[tuple[int, int, int]] = field(default_factory=set)
    signs: set[bytes] = field(default_factory=set)  # letter runs of which any cut holds one
    wide_signs: set[str] = field(default_factory=set)  # the same outside ASCII
    digits: set[bytes] = field(default_factory=set)  # digits, separators left out, of which any cut holds one
    day_runs: set[bytes] = field(default_factory=set)  # unbroken digits, without which no day stands in text
    day_digits: set[bytes] = field(default_factory=set)

    def add(self, tag: int, vr: str, text: str) -> None:
        """One decoded value of an identifying attribute. Numbers, times and codes identify nobody and are passed over."""
        if vr == "PN" or tag in _NAMES:
            self._add_name(text)
        elif vr in ("DA", "DT"):
            self._add_days(text, tag == _BIRTH_DATE)
        elif vr in _TEXTS:
            for value in text.split("\\"):
                if tag in _INSTITUTIONS:
                    self._add_institution(value)
                elif tag in _ADDRESSES:
                    for part in re.split(r"[,;\r\n^/]", value):
                        self._add_institution(part, shortened=False)
                elif tag in _PHONES:
                    self._add_phone(value)
                elif len(value) <= 256:
                    self._add_id(value)

    def _add_word(self, word: str, beside: Iterable[str] = ()) -> None:
        self.words[word] = self.words.get(word, frozenset()) | frozenset(beside)
        self._sign(word)

    def _sign(self, word: str) -> None:
        """Note the longest unbroken letters of something that is searched for, or its digits."""
        run = max(letter_runs(word), key=len, default="") or word
        if digits := "" if run.isalpha() else "".join(filter(str.isdecimal, run)):
            self.digits.add(digits.encode())
        elif run.isascii():
            self.signs.add(run.encode())
        else:
            self.wide_signs.add(run)

    def _add_name(self, text: str) -> None:
        for value in text.split("\\"):
            name = spellings.Name(set(), set(), set())
            for group in value.split("="):
                found = spellings.name_spellings(group.split("^"))
                name.alone |= found.alone
                name.beside |= found.beside
                name.run_on |= found.run_on
                single = [word for word in letter_runs(group) if not spaced(word) and len(word) == 1]
                for word in single:
                    self._add_pattern(f"{re.escape(fold(word))}(?={fold(_HONORIFICS)})", fold(word))
            for word in name.alone:
                self._add_word(word, name.beside)
            for words in name.run_on:
                self._add_pattern(BETWEEN.join(map(re.escape, words)), max(words, key=len))
            if not value.isascii():
                self._add_lossy(value)
            for part in re.split(r"[\^= ,]", value):
                if any(character.isdecimal() for character in part):
                    self._add_id(part)

    def _add_lossy(self, name: str) -> None:
        """A word some of whose letters an earlier system turned into question marks."""
        for word in re.findall(r"[^\W\d_]+", name):
            lossy = "".join(character if character.isascii() else "?" for character in word.lower())
            runs = [run for run in lossy.split("?") if len(run) > 1]
            if runs and spaced(word) and lossy != word.lower():
                self._add_pattern(rf"(?<![^\W\d_]){re.escape(lossy)}(?![^\W\d_])", max(runs, key=len))

    def _add_pattern(self, pattern: str, sign: str) -> None:
        self._sign(sign)
        self.patterns[pattern] = sign

    def _add_institution(self, text: str, shortened: bool = True) -> None:
        runs = re.findall(r"[^\W\d_]+", text)
        words = [fold(run) for run in runs]
        telling = [(run, word) for run, word in zip(runs, words, strict=True) if word not in GENERIC]
        for run, word in telling:
            if not spaced(run):
                if len(run) > 1:
                    self._add_pattern(re.escape(word), word)
            elif len(word) >= 4 or (len(word) == 3 and run.isupper()):
                for spelling in spellings.word_spellings(run):
                    self._add_word(spelling)
        if telling:
            self._add_phrase(fold(text))
        for initials in spellings.acronyms(text) if shortened else ():
            self.capitals.add(initials)
            self._sign(initials)
        for number in re.findall(r"\d[\d -]{2,}\d", text):
            self._add_number(number)

    def _add_phrase(self, folded: str) -> None:
        runs = re.findall(r"[^\W\d_]+|\d+", folded)
        if len("".join(runs)) < 4 or not runs:
            return
        pattern = BETWEEN.join(map(re.escape, runs))
        head = r"(?<!\d)" if runs[0].isdecimal() else r"(?<![^\W\d_])" if spaced(runs[0]) else ""
        tail = r"(?!\d)" if runs[-1].isdecimal() else r"(?![^\W\d_])" if spaced(runs[-1]) else ""
        letters = max((run for run in runs if not run.isdecimal()), key=len, default="")
        digits = "".join(run for run in runs if run.isdecimal())
        self._add_pattern(head + pattern + tail, letters if len(letters) > 2 or not digits else digits)

    def _add_id(self, text: str) -> None:
        folded = fold(text.strip(" \0"))
        runs = re.findall(r"[^\W\d_]+|\d+", folded)
        digits = "".join(run for run in runs if run.isdecimal())
        if digits == "".join(runs):
            self._add_number(folded)
            return
        if digits:
            self._add_phrase(folded)
            for run in runs:
                if run.isdecimal() and len(run) > 4:
                    self._add_number(run)
        elif not all(run in GENERIC for run in runs):
            self._add_phrase(folded)
        for run in runs:
            if not run.isdecimal() and len(run) >= 4 and run not in GENERIC and spaced(run):
                self._add_word(run)

    def _add_number(self, text: str) -> None:
        """An id of digits: as written, without its leading zeros or with more of them, and from six digits on with separators anywhere."""
        digits = re.sub(r"\D", "", fold(text))
        if len(digits) < 4:
            return
        significant = digits.lstrip("0")
        if len(significant) < 4:
            significant, zeros = digits, ""
        else:
            zeros = "0*"
        between = r"[-./ _]?" if len(significant) >= 6 else ""
        self._add_pattern(rf"(?<!\d){zeros}{between.join(significant)}(?!\d)", significant)
        if not between and len(runs := re.findall(r"\d+", fold(text))) > 1:
            self._add_pattern(rf"(?<!\d){BETWEEN.join(runs)}(?!\d)", significant)

    def _add_phone(self, text: str) -> None:
        """A telephone number with or without its country's prefix and with any separators; an address of electronic mail as a phrase."""
        if "@" in text:
            self._add_id(text)
        for number in re.findall(r"\+?\d[\d\s()./-]{4,}\d", text):
            digits = re.sub(r"\D", "", fold(number)).lstrip("0")
            core = digits[-7:] if len(digits) > 8 else digits  # without the prefixes of country and town
            if len(core) >= 6:
                figures = r"[\s()./-]{0,3}".join(core)
                self._add_pattern(rf"(?<!\d)(?:\d[\d\s()./-]{{0,10}})?{figures}(?!\d)", core)

    def _add_days(self, text: str, birth: bool) -> None:
        for day in spellings.parse_dates(text):
            self.days.add((day.year, day.month, day.day))
            if birth:
                self.births.add((day.year, day.month, day.day))
            year, short = f"{day.year:04d}", f"{day.year % 100:02d}"
            self.day_runs |= {run.encode() for run in (year, short)}
            figures = f"{day.month:02d}{day.day:02d}", f"{day.day:02d}{day.month:02d}"
            self.day_runs |= {run.encode() for two in figures for run in (two + year, two + short, short + two)}
            self.day_digits |= {digits.encode() for digits in spellings.date_digits(day)}
            self.digits.add((year + figures[0]).encode())
            self.signs |= {name.encode() for name, number in MONTHS.items() if number == day.month}


def identity(values: tuple[tuple[int, str, bytes], ...], encodings: tuple[str, ...]) -> Identity:
    """The spellings of (tag, VR, raw value) of identifying attributes, the values read by `encodings` (see `python_encodings`)."""
    found = Identity()
    for tag, vr, raw in values:
        for reading in readings(raw.strip(b" \0"), encodings):
            found.add(tag, vr, reading.text)
    return found
