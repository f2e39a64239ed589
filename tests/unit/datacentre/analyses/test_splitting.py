"""Documents one after the other in a stream come out as they went in, in pieces of any size."""

from __future__ import annotations

import io
import random

import pytest

from tests.unit.datacentre.visits import document
from toolkit.datacentre.analyses import splitting
from toolkit.datacentre.analyses.splitting import split

DECLARED = b'<?xml version="1.0" encoding="UTF-8"?>\n'
PLAIN = '<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="{}"/></ClinicalDocument>'


def pieces(text: bytes, limit: int = 1 << 20) -> list[bytes]:
    return list(split(io.BytesIO(text), limit))


def plain(number: int) -> bytes:
    return PLAIN.format(number).encode()


@pytest.fixture(params=[1, 7, 64, 1 << 20])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much is read at once, at first."""
    monkeypatch.setattr(splitting, "_CHUNK", request.param)
    monkeypatch.setattr(splitting, "_MOST", max(request.param, 256))
    return int(request.param)


DOCUMENTS = {
    "as made": [document(number, 800) for number in range(4)],
    "declared, with a line's end": [DECLARED + plain(number) + b"\n" for number in range(3)],
    "declared, with CRLF and blank lines": [DECLARED + plain(number) + b"\r\n\r\n" for number in range(3)],
    "without declarations": [plain(number) + b"\n" for number in range(3)],
    "with nothing between": [plain(number) for number in range(3)],
    "with marks": [b"\xef\xbb\xbf" + plain(number) for number in range(3)],
    "with marks and declarations": [b"\xef\xbb\xbf" + DECLARED + plain(number) + b"\n" for number in range(3)],
    "with a prefix": [b'<cda:ClinicalDocument xmlns:cda="urn:hl7-org:v3"><cda:id/></cda:ClinicalDocument >\n'] * 2,
    "alone in its tag": [b"<ClinicalDocument/>", b'<ClinicalDocument a="/>" />', plain(3)],
    "comments with tags": [
        DECLARED + b"<!-- </ClinicalDocument> <?xml ?> --><ClinicalDocument><!--</ClinicalDocument>--></ClinicalDocument><!-- end -->\n"
    ]
    * 3,
    "comments before documents": [b"<!-- <ClinicalDocument> --><?style x?>" + plain(number) + b"\n" for number in range(3)],
    "CDATA sections with tags": [b"<ClinicalDocument><![CDATA[<!-- </ClinicalDocument>]]></ClinicalDocument>"] * 2,
    "instructions with tags": [DECLARED + b"<?a </ClinicalDocument>?>" + plain(1) + b"<?b <!-- ?>\n"] * 2,
    "names alike": [b"<ClinicalDocument><ClinicalDocuments/></ClinicalDocuments><x>ClinicalDocument</x></ClinicalDocument>"] * 2,
    "Polish in ISO-8859-2": [
        '<?xml version="1.0" encoding="ISO-8859-2"?>\n<ClinicalDocument a="Łódź żółć"></ClinicalDocument>\n'.encode("iso-8859-2")
    ]
    * 2,
    "UTF-16": [PLAIN.format("Łódź \U0001f600").encode("utf-16") + "\n".encode("utf-16-le")] * 3,
    "UTF-16, big end first": [b"\xfe\xff" + ('<?xml version="1.0"?>' + PLAIN.format("Ł")).encode("utf-16-be")] * 3,
    "a mixture": [plain(1), PLAIN.format("Ł").encode("utf-16"), DECLARED + plain(2) + b"\n", PLAIN.format(3).encode("utf-16"), plain(4)],
    "a broken one before a declaration": [DECLARED + b"<ClinicalDocument><id>\n", DECLARED + plain(1) + b"\n"],
    "a broken one before a tag": [b"<ClinicalDocument><id>\n", plain(1) + b"\n"],
    "another kind": [DECLARED + b"<Bundle/>\n", DECLARED + plain(1)],
    "one that does not end": [plain(1), b"<ClinicalDocument><!-- </ClinicalDocument>"],
    "no XML": [b"no XML at all"],
}


@pytest.mark.parametrize("documents", DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_come_out_as_they_went_in(documents: list[bytes], chunk: int) -> None:
    assert pieces(b"".join(documents)) == documents


@pytest.mark.parametrize("text", [b"", b" \n", b"<!-- nothing -->\n", b"\n <!-- a -->\n<?b c?>"])
def test_what_holds_no_document_has_none(text: bytes, chunk: int) -> None:
    assert pieces(text) == []


def test_comments_before_the_first_declaration_are_no_document(chunk: int) -> None:
    assert pieces(b"<!-- all -->\n" + DECLARED + plain(1)) == [DECLARED + plain(1)]


def test_of_a_document_that_is_too_large_little_is_kept_and_the_next_one_is_found(chunk: int) -> None:
    large = b"<ClinicalDocument>" + b"<id/>" * 1000 + b"</ClinicalDocument>"
    assert pieces(plain(1) + large + plain(2) + DECLARED + large + DECLARED + plain(3), 500) == [
        plain(1), large[:501], plain(2), (DECLARED + large)[:501], DECLARED + plain(3),
    ]  # fmt: skip


def test_a_large_one_that_does_not_end_is_left_at_the_next_declaration(chunk: int) -> None:
    large = b"<ClinicalDocument>" + b"x" * 5000
    assert pieces(large + DECLARED + plain(1), 500) == [large[:501], DECLARED + plain(1)]


def test_any_mixture_comes_out_as_it_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    alone = [document for name, documents in DOCUMENTS.items() if "declar" in name and "broken" not in name for document in documents]
    for _ in range(50):
        monkeypatch.setattr(splitting, "_CHUNK", dice.randrange(1, 500))
        documents = dice.choices([one for one in alone if one.startswith((b"<?xml", b"\xef\xbb\xbf<?xml"))], k=20)
        assert pieces(b"".join(documents)) == documents


def test_many_comments_take_no_long_time() -> None:
    """Each word is looked for once: 200,000 comments take a second at most, not hours."""
    text = b"<ClinicalDocument>" + b"<!-- -->" * 200_000 + b"</ClinicalDocument>"
    assert pieces(text, 1 << 24) == [text]
