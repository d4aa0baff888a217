"""How people name messages and ports."""

from pathlib import Path
from uuid import UUID

import pytest

from gateway.config.load import parse
from gateway.operations.messages import document_text
from gateway.operations.references import NotFound, Reference, known_port, parse_reference

ID = UUID("722b196b-4acb-4048-8ed3-36915a7dd269")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("17", Reference(17, None)),
        (" 17 ", Reference(17, None)),
        ("722B196B-4ACB-4048-8ED3-36915A7DD269", Reference(None, ID)),
        ("{722b196b-4acb-4048-8ed3-36915a7dd269}", Reference(None, ID)),
    ],
)
def test_message_is_named_by_number_or_id(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", "-1", "1.5", "{722b196b-4acb-4048-8ed3-36915a7dd269", "x", "٣", str(2**63)])
def test_anything_else_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="neither"):
        parse_reference(text)


def test_unknown_port_is_answered_with_the_nearest_one() -> None:
    config = b"""
services: {S: {kind: document, document: SalesOrder, entity: SalesTable, key: SalesId}}
ports: {orders: {receive: {folder: in}, operations: [S.create]}}
"""
    settings = parse(config, file="c", base=Path("/"), environ={})
    assert known_port(settings, "orders") == "orders"
    assert known_port(settings, None) is None
    with pytest.raises(NotFound, match="did you mean orders"):
        known_port(settings, "order")
    with pytest.raises(NotFound, match="there are orders"):
        known_port(settings, "zzz")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_document_is_decoded_as_its_first_bytes_say(encoding: str) -> None:
    name = "UTF-16" if "16" in encoding else "UTF-8"
    text = f'<?xml version="1.0" encoding="{name}"?><a>ü</a>'
    assert document_text(text.encode(encoding)) == text


def test_no_document_is_no_text() -> None:
    assert document_text(None) is document_text(b"") is None
