"""SOAP around a document: the envelope is taken off, and an answer is put into one of the same version.

SOAP 1.1 (W3C Note, 8 May 2000) and 1.2 (W3C Recommendation, second edition). What is kept is the one element in the Body, byte for
byte as it was sent, so that its digest is that which the sender can compute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from toolkit.core.errors import BadData

if TYPE_CHECKING:
    from lxml import etree

VERSIONS = {"http://schemas.xmlsoap.org/soap/envelope/": "1.1", "http://www.w3.org/2003/05/soap-envelope": "1.2"}
CONTENT_TYPES = {"1.1": "text/xml; charset=utf-8", "1.2": "application/soap+xml; charset=utf-8"}
_NAMESPACES = {version: namespace for namespace, version in VERSIONS.items()}
_REMEDY = "send an Envelope whose Body holds the one ClinicalDocument"


def version_of(tree: etree._ElementTree) -> str:
    """``1.1`` or ``1.2`` when the document is a SOAP envelope, otherwise an empty text."""
    namespace, _, name = tree.getroot().tag[1:].partition("}")
    return VERSIONS.get(namespace, "") if name == "Envelope" else ""


def payload(tree: etree._ElementTree, data: bytes) -> tuple[int, int]:
    """Where in `data`, whose tree was parsed safely and is an envelope, the Body's one element begins and ends, in bytes.

    Raises BadData when there is not exactly one, or the header has entries that must be understood: none is.
    """
    from lxml import etree

    namespace = etree.QName(tree.getroot()).namespace
    header, bodies = tree.getroot().find(f"{{{namespace}}}Header"), tree.getroot().findall(f"{{{namespace}}}Body")
    if header is not None and any(one.get(f"{{{namespace}}}mustUnderstand") in ("1", "true") for one in header):
        raise BadData("envelope", "has a header entry that must be understood", "send none that must be; X-Message-Id is a header of HTTP")
    if len(bodies) != 1 or len(bodies[0].findall("*")) != 1 or _has_text(bodies[0]):
        raise BadData("envelope", "its Body is not one element", _REMEDY)
    return _span(data)


def answer(version: str, status: int, said: dict[str, str]) -> bytes:
    """The body of an answer: what JSON would say as the attributes of a ``receipt``, or a fault from status 400 on."""
    if status < 400:
        attributes = "".join(f" {name}={quoteattr(value)}" for name, value in said.items())
        return _envelope(version, f'<receipt xmlns="urn:scape-toolkit:gateway"{attributes}/>')
    reason, ours = escape(said.get("error", "")), status >= 500
    if version == "1.1":
        return _envelope(
            version, f"<e:Fault><faultcode>e:{'Server' if ours else 'Client'}</faultcode><faultstring>{reason}</faultstring></e:Fault>"
        )
    code = f"<e:Code><e:Value>e:{'Receiver' if ours else 'Sender'}</e:Value></e:Code>"
    return _envelope(version, f'<e:Fault>{code}<e:Reason><e:Text xml:lang="en">{reason}</e:Text></e:Reason></e:Fault>')


def _envelope(version: str, content: str) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<e:Envelope xmlns:e="{_NAMESPACES[version]}"><e:Body>{content}</e:Body></e:Envelope>\n'
    return text.encode()


def _has_text(element: Any) -> bool:
    return bool((element.text or "").strip() or any((child.tail or "").strip() for child in element))


def _span(data: bytes) -> tuple[int, int]:
    """lxml tells no positions in bytes, expat does: elements at depth 2 stand in the Header or the Body."""
    from xml.parsers import expat

    parser, span = expat.ParserCreate(namespace_separator="}"), [0, 0]
    open_names: list[str] = []

    def begin(name: str, attributes: Any) -> None:
        if len(open_names) == 2 and open_names[1].endswith("}Body"):
            span[0] = parser.CurrentByteIndex
        open_names.append(name)

    def end(name: str) -> None:
        open_names.pop()
        if len(open_names) == 2 and open_names[1].endswith("}Body"):
            span[1] = parser.CurrentByteIndex

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadData("envelope", "cannot be read", "send it in UTF-8") from error
    if data[span[0] : span[0] + 1] != b"<" or data[span[1] : span[1] + 2] != b"</":
        raise BadData("envelope", "its Body holds an empty element, or it is not in UTF-8", _REMEDY)
    return span[0], data.index(b">", span[1]) + 1
