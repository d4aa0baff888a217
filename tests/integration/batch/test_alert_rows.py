"""The outbox of alerts: written with what happened, once per user and channel."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.batch.alerts.outbox import (
    AlertRule,
    claim_alert,
    clear_alert_rules,
    long_runs,
    overdue_jobs,
    raise_alerts,
    record_failed,
    record_postponed,
    record_sent,
    seconds_to_next_alert,
    set_alert_rule,
    silent_port,
    sync_port_rules,
)
from gateway.batch.housekeeping.deletes import delete_alerts
from gateway.batch.rules.alert import AlertEvent, Channel, RaisedEvent
from gateway.batch.rules.job import HistoryMode
from gateway.db.open import Store
from gateway.kernel.ids import JobId, PortName, RunId
from gateway.messaging.queue.exceptions import record_config_refused
from gateway.operations.reads.alerts import list_alert_rules, list_alerts, mark_read, read_alert, retry_alerts
from tests.factories import ORDERS

NOW = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)


async def rows(store: Store, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql, *arguments)]


async def a_job(store: Store, name: str = "nightly", **columns: object) -> JobId:
    values: dict[str, object] = {
        "partition_key": "initial", "name": name, "description": "d", "status": "waiting", "company": "DAT",
        "created_by": "ann", "original_start": NOW, "next_start": NOW, **columns,
    }  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    sql = f"INSERT INTO job ({', '.join(values)}) VALUES ({places}) RETURNING id"
    return JobId((await rows(store, sql, *values.values()))[0][0])


async def subscribe(
    store: Store, job: JobId, user: str, events: Sequence[str], channels: Sequence[str], source: str = "operator"
) -> None:
    async with store.transaction() as connection:
        await set_alert_rule(connection, rule(user, events, channels, source), job_id=job)


def rule(user: str, events: Sequence[str], channels: Sequence[str], source: str = "operator") -> AlertRule:
    return AlertRule(
        user=user, events=frozenset(map(AlertEvent, events)), channels=frozenset(map(Channel, channels)), source=source
    )


async def tell(store: Store, happening: RaisedEvent, *, ax_alerts: bool = False) -> int:
    async with store.transaction() as connection:
        return await raise_alerts(connection, happening, ax_alerts=ax_alerts)


def outcome(job: JobId, event: AlertEvent, run: int = 1, history: HistoryMode = HistoryMode.ALWAYS) -> RaisedEvent:
    return RaisedEvent(event=event, name="nightly", at=NOW, job_id=job, run_id=RunId(run), history=history)


OUTBOX = "SELECT user_name, channel, event FROM alert ORDER BY user_name, channel, event"


async def test_an_alert_goes_to_whoever_asked_for_it(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email", "popup"])
    await subscribe(store, job, "bob", ["ended"], ["email"])
    assert await tell(store, outcome(job, AlertEvent.ERROR)) == 2
    assert await rows(store, OUTBOX) == [("ann", "email", "error"), ("ann", "popup", "error")]


async def test_finished_is_told_for_success_and_error_and_not_for_a_cancel(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["finished"], ["popup"])
    for run, event in enumerate((AlertEvent.ENDED, AlertEvent.ERROR, AlertEvent.CANCELED)):
        await tell(store, outcome(job, event, run))
    assert await rows(store, OUTBOX) == [("ann", "popup", "ended"), ("ann", "popup", "error")]


async def test_a_happening_told_again_raises_nothing(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error", "finished"], ["email"])
    assert await tell(store, outcome(job, AlertEvent.ERROR)) == 1
    assert await tell(store, outcome(job, AlertEvent.ERROR)) == 0
    assert len(await rows(store, OUTBOX)) == 1


async def test_an_alert_is_gone_with_a_transaction_that_fails(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email"])
    with pytest.raises(RuntimeError):
        async with store.transaction() as connection:
            await raise_alerts(connection, outcome(job, AlertEvent.ERROR))
            raise RuntimeError
    assert await rows(store, OUTBOX) == []


async def test_refused_configuration_is_told_once_to_whoever_hears_of_ports(store: Store) -> None:
    async with store.transaction() as connection:
        rules = {ORDERS: [rule("ann", ["error"], ["popup"])], PortName("other"): [rule("ann", ["error"], ["popup"])]}
        await sync_port_rules(connection, rules)
    await subscribe(store, await a_job(store), "bob", ["error"], ["popup"])  # a job that moves no messages
    await record_config_refused(store, "/srv/config.yaml", ["config.yaml:3: ports: must be a mapping"])
    assert await rows(store, OUTBOX) == [("ann", "popup", "error")]
    subject, body = (await rows(store, "SELECT subject, body FROM alert"))[0]
    assert subject == "The configuration /srv/config.yaml was refused"
    assert "must be a mapping" in body and "See: the configuration" in body
    assert await rows(store, "SELECT code, severity FROM exception") == [("config.refused", "error")]


async def test_what_goes_to_the_inbox_has_arrived_at_once(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["popup", "email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    assert await rows(store, "SELECT channel, status FROM alert ORDER BY channel") == [
        ("email", "pending"), ("popup", "sent"),
    ]  # fmt: skip


async def test_setting_a_rule_again_replaces_it(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["ended", "error"], ["popup"])
    await subscribe(store, job, "ann", ["error"], ["email"])
    assert await rows(store, "SELECT user_name, events, channels FROM alert_rule") == [("ann", ["error"], ["email"])]


async def test_all_rules_of_a_job_can_be_taken_away(store: Store) -> None:
    job, other = await a_job(store), await a_job(store, "weekly")
    for number in (job, other):
        await subscribe(store, number, "ann", ["ended"], ["popup"])
    async with store.transaction() as connection:
        await clear_alert_rules(connection, job_id=job)
    assert [found.job for found in await list_alert_rules(store)] == ["weekly"]


async def test_an_alert_that_is_being_sent_is_passed_by_others(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    async with store.transaction() as first, store.transaction() as second:
        alert = await claim_alert(first, Channel.EMAIL)
        assert alert is not None and alert.key == "run:1:error:ann:email"
        assert await claim_alert(second, Channel.EMAIL) is None
        await record_sent(first, alert)
    assert await rows(store, "SELECT status, tries FROM alert") == [("sent", 1)]


async def test_a_postponed_alert_waits_and_a_day_old_one_has_failed_with_its_reason(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    await rows(store, "UPDATE alert SET created_at = clock_timestamp() RETURNING id")

    async def postpone() -> bool:
        async with store.transaction() as connection:
            alert = await claim_alert(connection, Channel.EMAIL)
            assert alert is not None
            return await record_postponed(connection, alert, "no answer", seconds=100, give_up_seconds=86_400)

    assert await postpone()
    async with store.transaction() as connection:
        assert await claim_alert(connection, Channel.EMAIL) is None
        seconds = await seconds_to_next_alert(connection, Channel.EMAIL)
    assert seconds is not None and 0 < seconds <= 100
    await rows(
        store,
        "UPDATE alert SET not_before = NULL, created_at = created_at - make_interval(days => 1) RETURNING id",
    )
    assert not await postpone()
    assert await rows(store, "SELECT status, reason FROM alert") == [("failed", "Given up after 24 hours: no answer")]


async def test_a_failed_alert_is_not_tried_again(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    async with store.transaction() as connection:
        alert = await claim_alert(connection, Channel.EMAIL)
        assert alert is not None
        await record_failed(connection, alert, "ann has no address")
    async with store.transaction() as connection:
        assert await claim_alert(connection, Channel.EMAIL) is None
        assert await seconds_to_next_alert(connection, Channel.EMAIL) is None


@pytest.mark.parametrize("status", ["waiting", "withhold"])
async def test_a_job_that_did_not_start_in_time_is_overdue(store: Store, status: str) -> None:
    job = await a_job(store, status=status, overdue_seconds=60.0)
    await subscribe(store, job, "ann", ["overdue"], ["popup"])
    async with store.transaction() as connection:
        assert await overdue_jobs(connection, NOW + timedelta(seconds=59)) == []
        (late,) = await overdue_jobs(connection, NOW + timedelta(seconds=61))
        (later,) = await overdue_jobs(connection, NOW + timedelta(seconds=99))
    assert late.key == later.key, "one alert per planned start"


async def test_a_run_that_takes_too_long_is_told_once(store: Store) -> None:
    job = await a_job(store, long_seconds=60.0)
    await subscribe(store, job, "ann", ["long_running"], ["popup"])
    run = (await rows(
        store,
        "INSERT INTO run (job_id, job, partition_key, company, created_by, run_as, cause, planned_at, started_at,"
        " status) VALUES ($1, 'nightly', 'initial', 'DAT', 'ann', 'ann', 'schedule', $2, $2, 'executing') RETURNING id",
        job, NOW,
    ))[0][0]  # fmt: skip
    await rows(store, "UPDATE job SET status = 'executing', run_id = $1 RETURNING id", run)
    async with store.transaction() as connection:
        assert await long_runs(connection, NOW + timedelta(seconds=59)) == []
        (found,) = await long_runs(connection, NOW + timedelta(seconds=61))
    assert found.key == f"run:{run}:long_running"


async def test_a_port_that_received_nothing_for_hours_is_silent(store: Store) -> None:
    await rows(
        store,
        "INSERT INTO delivery (claim_id, port, name, display, size_bytes, owner_uid, modified_at, received_at, outcome,"
        " settlement) VALUES (gen_random_uuid(), 'orders', 'x', 'x', 1, 0, $1, $1, 'ingested', 'archive') RETURNING 1",
        NOW,
    )
    async with store.transaction() as connection:
        assert await silent_port(connection, ORDERS, NOW + timedelta(hours=3.9), 4) is None
        silent = await silent_port(connection, ORDERS, NOW + timedelta(hours=4.1), 4)
        assert await silent_port(connection, PortName("new"), NOW, 4) is None, "no gateway ever started"
    assert silent is not None and silent.since == NOW


async def test_inbox_entries_are_read_once_by_their_own_user(store: Store) -> None:
    job = await a_job(store)
    for user in ("ann", "bob"):
        await subscribe(store, job, user, ["error"], ["popup"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    (entry,) = await list_alerts(store, user="ann", channel=Channel.POPUP, unread=True)
    assert await mark_read(store, "bob", [entry.id]) == []
    assert await mark_read(store, "ann", [entry.id]) == [entry.id]
    assert await mark_read(store, "ann", [entry.id]) == []
    assert await list_alerts(store, user="ann", unread=True) == []
    assert len(await mark_read(store, "bob")) == 1


async def test_a_failed_alert_gets_another_day_when_somebody_asks(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    async with store.transaction() as connection:
        alert = await claim_alert(connection, Channel.EMAIL)
        assert alert is not None
        await record_failed(connection, alert, "refused")
    (failed,) = await list_alerts(store, status="failed")
    assert failed.reason == "refused"
    assert await retry_alerts(store, [failed.id]) == [failed.id]
    shown = await read_alert(store, failed.id)
    assert shown is not None and (shown.status, shown.reason, shown.job) == ("pending", None, "nightly")
    assert shown.body.startswith("Job nightly failed.")


async def test_rules_of_ports_come_and_go_with_the_configuration_and_leave_those_of_operators(store: Store) -> None:
    wanted, own = rule("ann", ["overdue"], ["popup"], "config"), rule("bob", ["error"], ["email"])
    async with store.transaction() as connection:
        await set_alert_rule(connection, own, port=ORDERS)
        await sync_port_rules(connection, {ORDERS: [wanted], PortName("old"): [wanted]})
        await sync_port_rules(connection, {ORDERS: [wanted]})
    assert [(row.port, row.rule) for row in await list_alert_rules(store)] == [(ORDERS, wanted), (ORDERS, own)]


async def test_old_alerts_go_and_those_still_to_be_sent_stay(store: Store) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], ["popup", "email"])
    await tell(store, outcome(job, AlertEvent.ERROR))
    await rows(store, "UPDATE alert SET created_at = clock_timestamp() - make_interval(days => 91) RETURNING id")
    assert await delete_alerts(store, datetime.now(UTC) - timedelta(days=90), 10) == 1
    assert [alert.channel for alert in await list_alerts(store)] == [Channel.EMAIL]
