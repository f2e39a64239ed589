"""What identifies is cut in the spellings people use, nothing else is touched, and whatever is written stays legal."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolkit.hospital.dicom.cleaning.scrub import Tokens, identifying_tokens
from toolkit.hospital.dicom.cleaning.spellings import fold
from toolkit.hospital.dicom.cleaning.vocabulary import GENERIC, UNTELLING
from toolkit.hospital.dicom.encoding.charsets import decoded, python_encodings, read

NAME, ID, BIRTH, ACCESSION, INSTITUTION, STUDY_DATE = 0x00100010, 0x00100020, 0x00100030, 0x00080050, 0x00080080, 0x00080020
PHYSICIAN, ADDRESS, PHONE, INSTANCE = 0x00080090, 0x00080081, 0x00102154, 0x00080018
LATIN_1 = b"ISO_IR 100"
PATIENT = [
    (NAME, "PN", "Müller-Łęcki^Hans Peter^J.^Dr.".replace("Łę", "Le").encode("latin_1")),
    (ID, "LO", b"00123456"),
    (BIRTH, "DA", b"19650312"),
    (STUDY_DATE, "DA", b"20240115"),
    (INSTITUTION, "LO", b"University Hospital Basel Zurich"),
    (ADDRESS, "ST", b"Rosengasse 5\r\n4031 Basel"),
    (PHYSICIAN, "PN", b"Lee^Ann\\O'Brien^Niamh"),
    (PHONE, "SH", b"+48 22 123 45 67"),
    (ACCESSION, "SH", b"ACC-99881 "),
    (INSTANCE, "UI", b"1.2.840.113619.2.55.3.1\0"),
]


def cleaned(text: str, values=PATIENT, character_set: bytes = LATIN_1, vr: str = "LT", codec: str = "latin_1") -> str:
    raw = text.encode(codec)
    return identifying_tokens(values, character_set).clean(raw, vr).decode(codec).rstrip(" ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names
        ("Müller, Hans came", "* came"),
        ("MUELLER HANS", "*"),
        ("muller^hans^peter", "*"),
        ("H. P. Mueller, knee", "*, knee"),
        ("HMüller and Müllerh", "* and *"),
        ("hanspeter", "*"),
        ("Müllers Hans_2 3Hans", "*_2 3*"),
        ("M?ller", "*"),
        ("seen by Dr. Lee, A.", "seen by Dr. *."),
        ("Mrs O'Brien, OBrien, O Brien", "Mrs *"),
        ("Patient=Müller-Lecki;", "Patient=*;"),
        # ids, with and without zeros and separators
        ("id 00123456, 123456, 0000123456", "id *, *, *"),
        ("id 123-456 and 12.34.56", "id * and *"),
        ("MRN123456x", "MRN*x"),
        ("ACC-99881 acc99881 ACC 99881 99881", "* * * *"),
        # days
        ("born 12.03.1965", "born *"),
        ("born 1965-03-12; 1965/3/12; 1965 03 12", "born *; *; *"),
        ("03/12/1965; 3/12/65; 12.3.65", "*; *; *"),
        ("12 Mar 1965, 12-MAR-65, 12th of March 1965, 12. März 1965, 12 marca 1965", "*, *, *, *, *"),
        ("March 12, 1965; 1965 Mar 12", "*; *"),
        ("on 20240115, 20240115103000.5, 15012024, 15.01.24", "on *, *, *, *"),
        ("650312 120365", "* *"),
        # institution, address, telephone
        ("at University Hospital Basel, Zurich", "at *"),
        ("in Basel, Rosengasse 5", "in *, *"),
        ("UHBZ protocol", "* protocol"),
        ("call 0048 22/123 45 67 or 123-45-67", "call * or *"),
        # own UIDs
        ("see 1.2.840.113619.2.55.3.1.", "see *."),
        # the same in the spellings of markup
        ("<n>M&uuml;ller</n> or M&#252;ller or M&#xFC;ller or M\\u00fcller or M%C3%BCller", "<n>*</n> or * or * or * or *"),
        ("M&amp;uuml;ller", "*"),
    ],
)
def test_spellings_are_cut(text, expected):
    tokens = identifying_tokens(PATIENT, LATIN_1)
    assert cleaned(text) == expected
    assert tokens.found_in(text.encode("latin_1")) == (text != expected)


@pytest.mark.parametrize(
    "text",
    [
        "Fleet CT, sleeve, Leeds",
        "uhbz in lower case is a word",
        "Hospital, Department of Radiology, university",
        "2345 or 0123 456789",
        "1.2.20240115.4 and 1.2.840.113619.2.55.3.11 and 1.2.840.113619.2.55.3",
        "19650313 12.04.1965 4 March 1965 120240115 202401159",
        "T1 TSE sag 384x384, TE 12 TR 650, HFS 3/12",
        "J. at the end of a line, P",
        "4 & 5 % of 100&nbsp;ml",
        "",
        "   ",
    ],
)
def test_other_text_stays_as_it_is(text):
    raw = text.encode("latin_1")
    assert identifying_tokens(PATIENT, LATIN_1).clean(raw, "LT") is raw


SCRIPTS = [
    (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada 太郎 やまだ ヤマダ 山田",
    ),
    (b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J", "山田太郎 やまだ"),
    (
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "홍길동 洪吉洞 길동",
    ),
    (b"ISO_IR 192", "Wang^XiaoDong=王^小东".encode(), "王小东 小东 wang xiaodong"),
    (b"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "王小东 王 小东"),
    (b"ISO_IR 144", "Люксембург".encode("iso8859_5"), "ЛЮКСЕМБУРГ"),
    (b"ISO_IR 126", "Διονυσιος".encode("iso8859_7"), "Διονύσιος ΔΙΟΝΥΣΙΟΣ"),
    (b"ISO_IR 138", "שרון^דבורה".encode("iso8859_8"), "שרון דבורה"),
    (b"ISO_IR 127", "قباني^لنزار".encode("iso8859_6"), "قباني لنزار"),
    (b"ISO_IR 101", "Żółciński^Łukasz".encode("iso8859_2"), "ZOLCINSKI Żółcińskiego łukasza Lukasz"),
]
WRITERS = {b"\\ISO 2022 IR 87": "iso2022_jp", b"ISO 2022 IR 13\\ISO 2022 IR 87": "iso2022_jp", b"\\ISO 2022 IR 149": None}


@pytest.mark.parametrize(("character_set", "name", "words"), SCRIPTS)
@pytest.mark.parametrize("vr", ["LO", "UT", "UN"])
def test_every_script_in_its_character_set_and_in_utf_8(character_set, name, words, vr):
    tokens = identifying_tokens([(NAME, "PN", name)], character_set)
    codec = WRITERS.get(character_set, python_encodings(character_set)[0])
    for word in words.split() if character_set not in (b"ISO_IR 192", b"GB18030") else [words]:
        encoded = [f"knee {word} left".encode()]
        if codec:
            encoded.append(f"knee {word} left".encode(codec, "ignore"))
        for raw in encoded:
            assert tokens.found_in(raw)
            after = tokens.clean(raw, vr)
            text = after.decode(codec or "utf_8", "strict") if raw is encoded[-1] else after.decode()
            assert re.fullmatch(r"knee [*＊\s]* ?left ?", text), (word, text)
            assert len(after) - len(raw) in (0, len(raw) % 2) if vr == "UN" else len(after) <= len(raw) + 1


@pytest.mark.parametrize(("character_set", "name", "words"), SCRIPTS)
def test_the_name_as_it_is_encoded_is_cut_from_other_text(character_set, name, words):
    tokens = identifying_tokens([(NAME, "PN", name)], character_set)
    for group in name.split(b"="):
        raw = b"knee " + group + b" left"
        assert tokens.found_in(b"other text\n" + raw)
        after = decoded(tokens.clean(raw, "LO"), character_set)
        assert re.fullmatch(r"knee [*＊]*( \*)? *left", after.replace("^", "").replace("  ", " ")), after


def test_characters_stand_where_pydicom_reads_them():
    from pydicom.charset import convert_encodings
    from pydicom.valuerep import PersonName

    for character_set, name, _ in SCRIPTS:
        terms = character_set.decode().split("\\")
        theirs = str(PersonName(name, convert_encodings(terms)).decode())
        reading = read(name, python_encodings(character_set)[0])
        assert reading.text == theirs
        assert all(start < end for start, end in zip(reading.starts, reading.ends, strict=True))


def test_utf_16_in_private_values_is_overwritten_in_place():
    raw = b"\1" + "ID Hans Müller, knee".encode("utf_16_le") + b"\2"
    after = identifying_tokens(PATIENT, LATIN_1).clean(raw, "UN")
    assert after == b"\1" + "ID ***********, knee".encode("utf_16_le") + b"\2"


def test_values_stay_values():
    tokens = identifying_tokens(PATIENT, LATIN_1)
    assert tokens.clean(b"Hans\\knee\\M\xfcller\\", "LO") == b"*\\knee\\*\\ "
    assert tokens.clean(b"Hans\\Hans", "SH") == b"*\\* "


def test_two_byte_text_keeps_its_escape_sequences():
    tokens = identifying_tokens([(NAME, "PN", SCRIPTS[0][1])], SCRIPTS[0][0])
    raw = "膝 山田 太郎 左".encode("iso2022_jp")
    after = tokens.clean(raw, "LT")
    assert after.decode("iso2022_jp").split() == ["膝", "＊", "左"]


def test_metacharacters_in_names_do_no_harm():
    name = b"<script>alert('x')</script>^.*+?[a-z](|)$\\d{1000000}^%s{0}\\1"
    values = [(NAME, "PN", name), (ID, "LO", b"(((a1+)+)+)+$"), (INSTITUTION, "LO", b"[Klinik"), (PHONE, "SH", b"((((")]
    tokens = identifying_tokens(values, b"")
    text = b"<b>knee</b> .* [a-c] $ " + b"a" * 3000
    assert tokens.clean(text, "LT") is text
    assert b"alert" not in tokens.clean(b"x alert('x') y ", "LT")


def test_words_that_are_no_names_alone():
    values = [(NAME, "PN", b"von der Leyen^Lena^^Dr."), (ID, "LO", b"12"), (INSTITUTION, "LO", b"Department of Radiology")]
    assert cleaned("von der Hand, Dr. Smith, 12 ml, Radiology, DOR", values) == "von der Hand, Dr. Smith, 12 ml, Radiology, *"
    assert cleaned("Dr. von der Leyen, L., Lena", values) == "*"


def test_names_that_are_also_words_are_cut():
    assert cleaned("Young male, Brain", [(NAME, "PN", b"Brain^Young")]) == "* male, *"


def test_equal_values_are_prepared_once_and_uids_are_each_objects_own():
    one, other = (identifying_tokens([*PATIENT[:-1], (INSTANCE, "UI", uid)], LATIN_1) for uid in (b"1.2.3.4.5", b"1.2.3.4.6\0"))
    assert one._matter is other._matter
    assert one.clean(b"uid 1.2.3.4.5", "LT") == b"uid * "
    assert other.clean(b"uid 1.2.3.4.5 ", "LT") == b"uid 1.2.3.4.5 "


def test_codes_times_and_numbers_identify_nobody():
    values = [(0x00100040, "CS", b"MALE"), (0x00080030, "TM", b"101500"), (0x00200013, "IS", b"123456"), (0x00101010, "AS", b"045Y")]
    tokens = identifying_tokens(values, b"")
    assert not tokens.found_in(b"MALE 101500 123456 045Y")


# Properties. Words are made so that a test knows what must be gone.
LETTERS = st.text("abcdefghijklmnopqrstuvwxyzäöüßłżéñæøç", min_size=2, max_size=12)
FILLER = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=8), max_size=4).map(" ".join)
VRS = st.sampled_from(["LO", "LT", "SH", "ST", "UC", "UT", "UN", "UR"])


@st.composite
def planted(draw):
    family, given_name = draw(LETTERS), draw(LETTERS)
    number, day = draw(st.from_regex(r"\A0{0,3}[1-9][0-9]{3,9}\Z")), draw(st.dates())
    year, month, of_month = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    values = [
        (NAME, "PN", f"{family}^{given_name}".encode()),
        (ID, "LO", number.encode()),
        (BIRTH, "DA", f"{year}{month}{of_month}".encode()),
    ]
    chosen = draw(
        st.sampled_from(
            [family, given_name.upper(), f"{family} {given_name}", f"{given_name}_{family}", f"{family}{given_name}"]
            + [f"{given_name[0]}. {family}", number, "00" + number, year + month + of_month]
            + [f"{year}-{month}-{of_month}", f"{of_month}.{month}.{year}", f"{month}/{of_month}/{year}"]
        )
    )
    assume(fold(family) not in UNTELLING and fold(given_name) not in UNTELLING)
    return values, chosen


@settings(max_examples=400)
@given(planted(), FILLER, FILLER, VRS)
def test_what_is_planted_is_found_and_gone(plant, before, after, vr):
    values, chosen = plant
    raw = f"{before} | {chosen} | {after}".encode()
    tokens = identifying_tokens(values, b"ISO_IR 192")
    assert tokens.found_in(raw)
    clean = tokens.clean(raw, vr)
    text = clean.decode()
    assert f"| {chosen} |" not in text
    assert re.search(r"\| \*[*. ]* ?\|", text), (chosen, text)
    assert tokens.clean(clean, vr) is clean, "cleaning twice differs from cleaning once"


@settings(max_examples=400)
@given(planted(), st.binary(max_size=120), VRS, st.sampled_from([character_set for character_set, _, _ in SCRIPTS]))
def test_any_bytes_come_out_legal(plant, raw, vr, character_set):
    values, chosen = plant
    for text in (raw, raw + chosen.encode() + raw):
        tokens = identifying_tokens(values, character_set)
        clean = tokens.clean(text, vr)
        if clean is text:
            continue
        assert len(clean) % 2 == 0
        assert len(clean) <= len(text) + len(text) % 2
        assert tokens.clean(clean, vr) is clean
        if vr in ("LO", "SH", "UC") and b"\x1b" not in text and character_set not in (b"GB18030",):
            assert clean.count(b"\\") == text.count(b"\\")


@settings(max_examples=300)
@given(planted(), st.binary(max_size=120), st.sampled_from([character_set for character_set, _, _ in SCRIPTS]))
def test_nothing_is_cut_that_was_not_suspected(plant, raw, character_set):
    values, chosen = plant
    tokens = identifying_tokens(values, character_set)
    for text in (raw, raw + b" " + chosen.encode() + b"\n" + raw):
        if any(tokens._spans(text, vr) for vr in ("LO", "LT", "UN")):
            assert tokens.found_in(text)
            assert tokens.found_in(b"knee\n" + text + b"\nleft")


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([NAME, ID, BIRTH, INSTITUTION, ADDRESS, PHONE, 0x00091001]),
            st.sampled_from(["PN", "LO", "ST", "DA", "DT", "UI", "UN", "SH"]),
            st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40),
        ),
        max_size=6,
    ),
    st.sampled_from([*(character_set for character_set, _, _ in SCRIPTS), b"nonsense", b""]),
    VRS,
)
def test_odd_identifying_values_are_searched_too(values, character_set, vr):
    tokens = identifying_tokens(values, character_set)
    text = b" / ".join(raw for _, _, raw in values)
    clean = tokens.clean(text, vr)
    assert clean is text or len(clean) % 2 == 0
    assert tokens.clean(clean, vr) is clean


def test_unfolded_words_of_the_vocabulary_would_never_match():
    assert {word for word in UNTELLING | GENERIC if fold(word) != word} == set()
    assert isinstance(identifying_tokens([], b""), Tokens)
