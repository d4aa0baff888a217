"""Which outbound ports take a send request, and what is told when none does."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.models import Settings
from gateway.operations.references import NotFound
from gateway.operations.send import NotSendable, eligible_ports


def outbound(*operations: str, active: bool = True) -> dict[str, Any]:
    return {"direction": "outbound", "active": active, "send": {"folder": "/srv/out"}, "operations": list(operations)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "services": {
                "Orders": {"kind": "document", "document": "D", "entity": "E", "key": "K"},
                "Code": {"kind": "python", "operations": {"readAll": "m:x", "read": "m:y"}},
            },
            "ports": {
                "in": {"receive": {"folder": "/srv/in"}, "operations": ["Orders.read"]},
                "first": outbound("Orders.read", "Code.*"),
                "second": outbound("Orders.read"),
                "asleep": outbound("Orders.read", active=False),
            },
        }
    )


def test_every_active_outbound_port_that_offers_the_operation_is_eligible(settings: Settings) -> None:
    found = eligible_ports(settings, "Orders.read")
    assert found == [("first", "Orders", "read"), ("second", "Orders", "read")]


def test_a_named_port_is_the_only_one(settings: Settings) -> None:
    assert eligible_ports(settings, "Orders.read", "second") == [("second", "Orders", "read")]


def test_operations_are_named_without_regard_to_case(settings: Settings) -> None:
    assert eligible_ports(settings, "Code.READALL") == [("first", "Code", "readAll")]


@pytest.mark.parametrize(
    ("operation", "port", "expected"),
    [
        ("Orders.create", None, "no active outbound port sends 'Orders.create'; they send Orders.read, Code.readAll"),
        ("orders.read", None, "no active outbound port sends 'orders.read'"),
        ("Orders", None, "no active outbound port sends 'Orders'"),
        ("Code.read", "second", "the port second does not send 'Code.read'; it sends Orders.read"),
        ("Orders.read", "asleep", "the port asleep is not active"),
        ("Orders.read", "in", "the port in is inbound: it only answers requests"),
    ],
)
def test_the_reason_is_told_when_nothing_is_eligible(
    operation: str, port: str | None, expected: str, settings: Settings
) -> None:
    with pytest.raises(NotSendable, match=expected):
        eligible_ports(settings, operation, port)


def test_unknown_port_is_told_with_what_was_meant(settings: Settings) -> None:
    with pytest.raises(NotFound, match="did you mean first"):
        eligible_ports(settings, "Orders.read", "frist")


def test_without_outbound_ports_the_way_to_one_is_told() -> None:
    with pytest.raises(NotSendable, match="direction: outbound"):
        eligible_ports(Settings(), "Orders.read")
