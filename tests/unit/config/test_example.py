"""The example configuration works and leaves nothing out."""

import re
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.models import Section, Settings
from gateway.config.shape import fields

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
    assert settings.port_folders("orders").inbound == EXAMPLE.parent / "demo/orders/in"
    assert settings.ports["customers"].process.mode == "parallel"


@pytest.mark.parametrize("section", Section.__subclasses__(), ids=lambda section: section.__name__)
def test_example_mentions_every_option(section: type[Section]) -> None:
    text = EXAMPLE.read_text()
    missing = [key for key in fields(section) if not re.search(rf"(?<![\w.]){key}:", text)]
    assert missing == []


def test_values_in_the_example_are_the_defaults() -> None:
    """Comments promise so; what an example has to choose is excepted."""
    settings = load(EXAMPLE, {})
    chosen = {"receive": {"folder"}, "respond": {"folder", "details"}}
    for name in ("receive", "respond", "process", "security", "limits"):
        section = getattr(settings.ports["orders"], name)
        for key, field in type(section).model_fields.items():
            if key not in chosen.get(name, set()):
                assert getattr(section, key) == field.get_default(call_default_factory=True), f"{name}.{key}"
    for name in ("queue", "workers", "jobs", "logging", "retention", "shutdown"):
        assert getattr(settings, name) == getattr(Settings(), name), name
