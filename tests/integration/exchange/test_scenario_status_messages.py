"""Scenario S24: status messages are uploaded once, move their session forwards only, and are purged on both sides."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from gateway.batch.alerts.outbox import raise_overdue
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.jobs import create_job
from gateway.config.definitions import job_definition
from gateway.config.models import Settings
from gateway.contracts.task import Tally
from gateway.exchange import SessionStatus
from gateway.kernel.faultpoints import InjectedFault, switched_on
from gateway.operations.reads.alerts import list_alerts
from tests.integration.exchange.world import ExchangeWorld, Held, Message

NOW = datetime.now(UTC)
WAY = ("Started", "Available", "Requested", "Downloaded", "Applied")


def forty() -> list[Message]:
    """Session 7 from start to end in 40 messages: one written twice, two out of order."""
    found = [Message(status=WAY[place // 8], at=NOW - timedelta(minutes=60 - place)) for place in range(39)]
    found[3], found[38] = found[38], found[3]
    found[10], found[30] = found[30], found[10]
    return [*found, found[20]]


async def test_s24_status_messages(world: ExchangeWorld) -> None:
    world.options = {"download_session_days": 30, "upload_session_days": 10}
    old, older = (Message(number=number) for number in (1, 2))
    await world.station.write(old, older)
    await world.run()
    await world.age(29, message=old.message_id)
    await world.age(31, message=older.message_id)
    late = Message(number=3, at=NOW - timedelta(days=31))
    no_data = [Message(number=4), Message(number=4, status="NoData")]
    await world.station.write(*forty(), *no_data, late)

    with switched_on("exchange.stored:3:raise"), pytest.raises(InjectedFault):
        await world.run()
    world.new_process()
    counts = dict(await world.run())

    stored = [message.message_id for message in await world.messages()]
    assert len(stored) == len(set(stored)) == 1 + 1 + 39 + 2  # one of 29 days, the late one, those of 7, those of 4
    assert counts["purged"] == 1 and older.message_id not in stored
    assert {old.message_id, late.message_id} <= set(stored), "what was not uploaded is uploaded first, whatever its age"
    assert await world.station.held() == Held(waiting=0, uploaded=43, refused=0)
    assert (await world.session()).status is SessionStatus.APPLIED
    await world.station.write(Message(status="Requested"), Message(status="ApplyFailed"))
    await world.run()
    assert (await world.session()).status is SessionStatus.APPLIED, "never back"

    assert late.message_id not in {message.message_id for message in await world.messages()}, "the following pass"
    assert 4 not in {session.number for session in await world.sessions(everything=False)}
    assert 4 in {session.number for session in await world.sessions()}


@pytest.mark.parametrize(("days", "kept"), [(0, 2), (-1, 0), (30, 2)])
async def test_s24_retention(world: ExchangeWorld, days: int, kept: int) -> None:
    """0 keeps everything, -1 removes right after upload, and what is exactly as old as the limit stays."""
    world.options = {"download_session_days": days}
    await world.station.write(Message(at=NOW - timedelta(days=400)), Message(status="Applied"))
    await world.run()
    assert len(await world.messages()) == kept
    assert await world.station.held() == Held(waiting=0, uploaded=kept, refused=0)
    await world.run()
    assert len(await world.messages()) == (1 if days == 30 else kept)
    assert len(await world.sessions()) == (0 if days == -1 else 1)


async def test_age_is_strictly_greater_than_the_days(world: ExchangeWorld) -> None:
    world.options = {"download_session_days": 30}
    messages = [Message(), Message(status="Available"), Message(status="Requested")]
    await world.station.write(*messages)
    await world.run()
    for message, days in zip(messages, (29, 30 - 1 / 1440, 30 + 1 / 1440), strict=True):
        await world.age(days, message=message.message_id)
    await world.run()
    assert {message.message_id for message in await world.messages()} == {m.message_id for m in messages[:2]}
    assert (await world.station.held()).uploaded == 2


async def test_uploads_and_downloads_have_days_of_their_own(world: ExchangeWorld) -> None:
    world.options = {"download_session_days": 30, "upload_session_days": 10}
    await world.station.write(Message(), Message(direction="Upload"))
    await world.run()
    await world.age(11)
    await world.run()
    assert [message.direction for message in await world.messages()] == ["download"]


async def test_ended_session_goes_with_its_last_message_and_others_stay(world: ExchangeWorld) -> None:
    await world.station.write(
        Message(), Message(status="Applied"), Message(number=8), Message(number=8, status="DownloadFailed")
    )
    await world.run()
    await world.age(31)
    await world.run()
    assert await world.messages() == []
    assert [(session.number, session.status) for session in await world.sessions()] == [
        (8, SessionStatus.DOWNLOAD_FAILED)
    ]


async def test_order_of_arrival_changes_nothing(world: ExchangeWorld) -> None:
    messages = [
        Message(status=status, at=NOW - timedelta(minutes=20 - place), text=f"{place}")
        for place, status in enumerate(
            (
                "Started",
                "Available",
                "Requested",
                "DownloadFailed",
                "Requested",
                "Downloaded",
                "ApplyFailed",
                "Downloaded",
            )
        )
    ]
    seen = set()
    for number in range(1, 5):
        shuffled = [
            Message(**{**vars(message), "number": number, "message_id": uuid4()})
            for message in random.Random(number).sample(messages, len(messages))
        ]
        for message in shuffled:
            await world.station.write(message)
            await world.run()
        found = await world.session(number)
        seen.add((found.status, found.status_at, found.text, found.failures, found.requested_at, found.transferred_at))
    assert len(seen) == 1
    assert seen.pop()[:4] == (SessionStatus.DOWNLOADED, messages[-1].at, "7", 2)


@pytest.mark.parametrize("kind", ["folder"])
async def test_s24_job_that_has_not_run_for_a_day_is_overdue(world: ExchangeWorld) -> None:
    """The alert comes by the rules of the job, as for any other; nothing has to be set for it but who hears of it."""
    written = {
        "start": "2031-05-05 02:00", "recurrence": {"every": "1 hour"}, "alerts": {"ann": {"on": ["overdue"]}},
        "tasks": {"upload": {"run": "status_messages"}},
    }  # fmt: skip
    settings = Settings.model_validate({"jobs": {"process-status-messages": written}})
    definition = job_definition(settings, "process-status-messages", settings.jobs["process-status-messages"])
    planned = datetime(2031, 5, 5, 2, tzinfo=UTC)
    await create_job(world.store, definition, by="ann", now=planned - timedelta(hours=1), status=JobStatus.WAITING)
    assert await raise_overdue(world.store, planned + timedelta(hours=23, minutes=59), set()) == set()
    assert len(await raise_overdue(world.store, planned + timedelta(hours=24, minutes=1), set())) == 1
    (alert,) = await list_alerts(world.store, user="ann")
    assert (alert.event, alert.job) == ("overdue", "process-status-messages")


async def test_two_passes_at_once_store_each_message_once(world: ExchangeWorld) -> None:
    await world.station.write(*(Message(status=WAY[place % 5], number=1 + place % 7) for place in range(60)))
    first, second = world.stores, world.new_process()

    tally = Tally()
    await asyncio.gather(
        *(
            stores.make_pass("shops", tally=tally, lines=world, stopping=asyncio.Event(), purges=True)
            for stores in (first, second)
        )
    )
    assert tally.counts["messages"] == 60 and len(await world.messages()) == 60
    assert await world.station.held() == Held(waiting=0, uploaded=60, refused=0)
