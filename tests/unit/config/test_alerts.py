"""Alerts in the configuration: what fits together, and that secrets stay out of the file."""

from pathlib import Path

import pytest

from gateway.runtime.alerts import port_rules, reader_of, silent_hours
from gateway.runtime.logs import secrets_of
from tests.unit.config.conftest import Build, Told

PORTS = """
services: {S: {kind: document, document: Customer, entity: CustTable, key: AccountNum}}
ports:
  orders: {receive: {folder: ./in}, operations: [S.create]}
  closed: {active: false, receive: {folder: ./in2}, operations: [S.create]}
  copies: {direction: outbound, send: {folder: ./out}, operations: [S.read]}
"""


@pytest.mark.parametrize(
    ("ports", "path", "said"),
    [
        ("order: {}", "alerts.ports.order", "there is no port 'order'; did you mean 'orders'?"),
        ("copies: {silent_hours: 4}", "alerts.ports.copies.silent_hours", "goes with ports that take requests"),
        ("orders: {to: {ann: {on: canceled}}}", "alerts.ports.orders.to.ann.on", "ports know no canceled, only"),
        ("orders: {to: {ann: {on: overdue}}}", "alerts.ports.orders.to.ann.on", "overdue needs silent_hours"),
    ],
)
def test_alerts_of_ports_must_fit(told: Told, ports: str, path: str, said: str) -> None:
    ((_, where, text),) = told(f"{PORTS}alerts: {{ports: {{{ports}}}}}")
    assert where == path and text.startswith(said), text


def test_people_must_have_accounts_where_these_are_listed(told: Told) -> None:
    alerts = "alerts: {ports: {orders: {to: {an: {on: error}}}}}"
    ((_, path, text),) = told(f"{PORTS}{alerts}\naccounts: {{ann: {{}}}}")
    assert (path, text) == ("alerts.ports.orders.to.an", "there is no account 'an'; did you mean 'ann'?")


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("mail: {password: hunter2}", "mail.password"),
        ("mail: {password: 'x${P}'}", "mail.password"),
        ("alerts: {webhook: {secret: hunter2}}", "alerts.webhook.secret"),
    ],
)
def test_secrets_do_not_stand_in_the_file(told: Told, written: str, path: str) -> None:
    ((_, where, text),) = told(written, {"P": "y"})
    assert where == path and text.startswith("is a secret; take it from outside")
    assert "hunter2" not in text


def test_secrets_come_from_outside_and_are_never_shown(build: Build) -> None:
    settings = build("mail: {password: '${P}'}\nalerts: {webhook: {secret: '${S}'}}", {"P": "hunter2", "S": "hunter3"})
    assert settings.mail.password == "hunter2"
    assert "hunter" not in repr(settings) and "hunter" not in settings.model_dump_json()
    assert set(secrets_of(settings)) == {"hunter2", "hunter3"}


def test_rules_silence_and_addresses_are_read(build: Build) -> None:
    both = "{silent_hours: 4, to: {ann: {on: [overdue, error], by: email}}}"
    settings = build(
        f"{PORTS}alerts: {{ports: {{orders: {both}, closed: {{silent_hours: 1}}}}}}\n"
        "accounts: {ann: {email: ann@example.com, zone: Europe/Copenhagen}, 'bob@example.com': {}}"
    )
    assert silent_hours(settings) == {"orders": 4.0}, "a port that is switched off is not waited for"
    (rule,) = port_rules(settings)["orders"]  # type: ignore[index]
    assert (rule.user, sorted(rule.events), sorted(rule.channels)) == ("ann", ["error", "overdue"], ["email"])
    readers = {user: reader_of(settings, user, Path("/srv/shop")) for user in ("ann", "bob@example.com", "carl")}
    assert [one.address for one in readers.values()] == ["ann@example.com", "bob@example.com", None]
    assert [one.zone.key for one in readers.values()] == ["Europe/Copenhagen", "UTC", "UTC"]
    assert readers["ann"].site == "shop"
    assert reader_of(build("site: Orders of Contoso"), "ann", Path("/srv/shop")).site == "Orders of Contoso"
