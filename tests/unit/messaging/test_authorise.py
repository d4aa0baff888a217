"""Who may submit to a port, and in whose name."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.config.models import InboundPort, Settings
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.service import ServiceOperation
from gateway.kernel.errors import NotAuthorized
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.processing.authorise import Allowed, authorise
from gateway.messaging.rules.message import Work
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.limits import ReadRules
from tests.documents import CREATE, SERVICES
from tests.factories import ORDERS

SERVICE = "SalesOrderService"


def _authorise(security: Mapping[str, Any], submitter: str, logon_as: str) -> Allowed:
    work = SimpleNamespace(
        submitter=submitter, logon_as_user=logon_as, company=None, partition_key=None, action=CREATE,
        file_display="order.xml",
    )  # fmt: skip
    settings = Settings.model_validate(
        {
            "users": {"1001": "broker", "1002": "alice", "1003": "bob"},
            "services": {SERVICE: {"kind": "python", "operations": {"create": "m:create"}}},
            "ports": {ORDERS: {"receive": {"folder": "/srv/in"}, "operations": [f"{SERVICE}.create"],
                               "security": dict(security)}},
        }
    )  # fmt: skip
    port = settings.ports[ORDERS]
    assert isinstance(port, InboundPort)
    opened = OpenInbound(
        name=ORDERS, settings=port, exposed=frozenset({(SERVICE, "create")}), rules=ReadRules(),
        receive=cast("ReceiveAdapter", None), send=None, name_response=lambda work, message, is_fault: "",
    )  # fmt: skip
    operation = cast("ServiceOperation", None)
    service = Service(name=SERVICE, namespaces=frozenset({SERVICES}), operations={"create": operation})
    return authorise(cast("Work", work), opened, Registry({SERVICE: service}), settings)


def test_trusted_sender_acts_for_a_user_of_the_port() -> None:
    security = {"users": ["broker", "alice"], "trusted_intermediaries": ["broker"]}
    assert _authorise(security, "broker", "contoso\\alice").user == "alice"


def test_trusted_sender_cannot_act_for_a_user_the_port_does_not_admit() -> None:
    security = {"users": ["broker", "alice"], "trusted_intermediaries": ["broker"]}
    with pytest.raises(NotAuthorized, match="'bob' may not submit to the port 'orders'") as caught:
        _authorise(security, "broker", "bob")
    assert caught.value.code == "user.not-allowed"


def test_port_without_users_admits_whoever_a_trusted_sender_names() -> None:
    assert _authorise({"trusted_intermediaries": ["broker"]}, "broker", "bob").user == "bob"


def test_name_given_by_a_sender_without_trust_is_ignored() -> None:
    assert _authorise({"users": ["alice"]}, "alice", "bob").user == "alice"
