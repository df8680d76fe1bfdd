"""XML that feeds and sitemaps are written in: whole documents, no character they cannot hold."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from starlette.responses import Response

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Element = ElementTree.Element


def add(
    parent: Element, name: str, text: str | None = None, attributes: Mapping[str, str] | None = None
) -> Element:
    """A new last child of an element."""
    kept = {key: _kept(value) for key, value in (attributes or {}).items()}
    child = ElementTree.SubElement(parent, name, kept)
    if text is not None:
        child.text = _kept(text)
    return child


def xml_response(root: Element, media_type: str) -> Response:
    """A document as a response."""
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, media_type=media_type)


def _kept(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
