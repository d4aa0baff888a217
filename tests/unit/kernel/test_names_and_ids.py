"""Identifiers, actions, namespaces, lanes, waits: the small rules."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.ids import SetKey, format_message_id, parse_message_id
from gateway.kernel.namespaces import BATCH, Scheme, canonical, in_scheme, scheme_of
from gateway.kernel.retry import SEND, Backoff
from gateway.messaging.rules.action import Action, split_action
from gateway.messaging.rules.lane import WHOLE_PORT, lane_of
from gateway.messaging.rules.states import Policy

GUID = "44920385-3194-498F-8AC7-438F3632DF51"


@pytest.mark.parametrize("text", [GUID, GUID.lower(), f"{{{GUID}}}"])
def test_message_id_is_a_value_in_any_spelling(text: str) -> None:
    assert parse_message_id(text) == UUID(GUID)


@pytest.mark.parametrize("text", ["", f"{{{GUID}", f"{GUID}}}", GUID[:-1], GUID.replace("-", ""), f"urn:uuid:{GUID}"])
def test_other_texts_are_no_message_id(text: str) -> None:
    assert parse_message_id(text) is None


@given(st.uuids())
def test_our_message_ids_read_back(value: UUID) -> None:
    text = format_message_id(value)
    assert text == text.upper() and parse_message_id(text) == value


def test_action_is_split_from_the_right() -> None:
    found = split_action("http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create")
    assert found == Action("http://schemas.microsoft.com/dynamics/2008/01/services", "SalesOrderService", "create")


@pytest.mark.parametrize("text", ["create", "Service/create", "/Service/create", "http://x/Service/", ""])
def test_incomplete_action_is_refused(text: str) -> None:
    assert split_action(text) is None


def test_documented_namespaces_compare_in_both_schemes() -> None:
    https = in_scheme(BATCH, Scheme.HTTPS)
    assert https.startswith("https://") and scheme_of(https) is Scheme.HTTPS
    assert canonical(https) == BATCH
    assert canonical("{https://schemas.microsoft.com/dynamics/x}y") == "{http://schemas.microsoft.com/dynamics/x}y"


def test_foreign_namespaces_keep_their_scheme() -> None:
    assert canonical("https://tempuri.org/S/op") == "https://tempuri.org/S/op"
    assert in_scheme("http://tempuri.org", Scheme.HTTPS) == "http://tempuri.org"


def lane(
    *, sequential: bool = False, policy: Policy = Policy.CONTINUE, set_key: SetKey | None = None,
    batch: str | None = None, own: str | None = None, spans: bool = False,
) -> str | None:  # fmt: skip
    return lane_of(
        sequential=sequential, policy=policy, set_key=set_key, batch_conversation=batch, own_conversation=own,
        spans_sets=spans,
    )  # fmt: skip


def test_sequential_port_is_one_lane_and_ignores_conversations() -> None:
    assert lane(sequential=True, own="a") == lane(sequential=True, batch="b", set_key=SetKey(1)) == WHOLE_PORT


def test_parallel_message_without_conversation_has_no_lane() -> None:
    assert lane() is None
    assert lane(set_key=SetKey(1)) is None


def test_batch_conversation_joins_other_files_and_stands_over_members() -> None:
    assert lane(set_key=SetKey(1), batch="x", own="y") == lane(own="x") == lane(set_key=SetKey(2), batch="x")


def test_own_conversation_orders_inside_its_set_unless_the_port_says_otherwise() -> None:
    assert lane(set_key=SetKey(1), own="x") != lane(set_key=SetKey(2), own="x")
    assert lane(set_key=SetKey(1), own="x", spans=True) == lane(own="x")


@pytest.mark.parametrize("policy", [Policy.HALT, Policy.ROLLBACK])
def test_set_that_must_stop_runs_in_order(policy: Policy) -> None:
    assert lane(policy=policy, set_key=SetKey(7)) == lane(policy=policy, set_key=SetKey(7), own="x") == "set:7"
    assert lane(policy=policy) is None, "a single envelope is no set"


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_different_conversations_have_different_lanes(one: str, other: str) -> None:
    assert (lane(own=one) == lane(own=other)) == (one == other)


@given(st.integers(1, 100), st.floats(0, 0.999))
def test_waits_double_within_their_bounds(attempt: int, chance: float) -> None:
    plain = min(2.0 ** (attempt - 1), 300.0)
    assert 0.75 * plain <= SEND.delay(attempt, chance) <= 1.25 * plain


def test_giving_up_comes_after_the_time_is_used() -> None:
    rule = Backoff(first_seconds=1, most_seconds=4, give_up_seconds=10)
    assert [rule.exhausted(n) for n in (1, 2, 3, 4)] == [False, False, False, True]
