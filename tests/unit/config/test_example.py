"""The example configuration works and leaves nothing out."""

import re
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.models import InboundPort, Settings
from gateway.config.models_base import Section
from gateway.config.refusals import fields

EXAMPLE = Path(__file__).parents[3] / "config.yaml"


def test_example_is_a_working_configuration() -> None:
    settings = load(EXAMPLE, {})
    assert settings.embedded
    assert settings.exposed("orders") == (
        ("SalesOrderService", "create"),
        ("SalesOrderService", "read"),
        ("Ping", "ping"),
    )
    assert settings.exposed("customers") == (("CustomerService", "create"), ("CustomerService", "read"))
    folders = settings.port_folders("orders")
    assert folders.receive is not None
    assert folders.receive.inbound == EXAMPLE.parent / "demo/orders/in"
    customers = settings.ports["customers"]
    assert isinstance(customers, InboundPort)
    assert customers.process.mode == "parallel"
    assert settings.exposed("order-copies") == (("SalesOrderService", "read"),)


def below(section: type[Section]) -> list[type[Section]]:
    return [one for child in section.__subclasses__() for one in (child, *below(child))]


@pytest.mark.parametrize("section", below(Section), ids=lambda section: section.__name__)
def test_example_mentions_every_option(section: type[Section]) -> None:
    text = EXAMPLE.read_text()
    missing = [key for key in fields(section) if not re.search(rf"(?<![\w.]){key}:", text)]
    assert missing == []


def test_values_in_the_example_are_the_defaults() -> None:
    """Comments promise so; what an example has to choose is excepted."""
    settings = load(EXAMPLE, {})
    chosen = {"receive": {"folder"}, "respond": {"folder", "details"}, "send": {"folder"}}
    sections = [("orders", name) for name in ("receive", "respond", "process", "security", "limits")]
    for port, name in [*sections, ("order-copies", "send"), ("order-copies", "process")]:
        section = getattr(settings.ports[port], name)
        for key, field in type(section).model_fields.items():
            if key not in chosen.get(name, set()):
                assert getattr(section, key) == field.get_default(call_default_factory=True), f"{name}.{key}"
    for name in ("queue", "workers", "jobs", "throttling", "logging", "retention", "shutdown"):
        assert getattr(settings, name) == getattr(Settings(), name), name
