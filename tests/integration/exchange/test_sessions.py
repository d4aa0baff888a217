"""Sessions as people see and change them, and deliveries of the gateway as sessions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lxml import etree

import schemas
from gateway.batch.rules.definition import JobDefinition, TaskDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.jobs import create_job
from gateway.db.open import Store
from gateway.exchange import SessionFilter, SessionStatus
from gateway.kernel.errors import IllegalTransition
from gateway.operations import sessions as operations
from gateway.operations.audit import AskedActions, actions
from gateway.operations.principal import Principal
from gateway.operations.references import NotFound
from tests.factories import operator
from tests.integration.exchange.world import ExchangeWorld, Message

NOW = datetime.now(UTC)
ANN = Principal(name="ann", partition="initial", reason="bad data")


@pytest.fixture
def kind() -> str:
    """These need no more than one kind of store, unless a test names another."""
    return "folder"


async def delivery(store: Store, number: int, *, port: str = "copies", queue: str | None = "ready") -> None:
    """Put a message that goes out into the tables, in the queue with this status or sent."""
    async with store.transaction() as connection:
        await connection.execute(
            "INSERT INTO message (id, direction, port, position, message_id, namespace, size_bytes, file_name, "
            "outcome, finished_at) VALUES ($1, 'out', $2, 1, $3, 'n', 1, $4, $5, $6)",
            number, port, uuid4(), f"{number}.xml",
            "sent" if queue is None else None, datetime.now(UTC) if queue is None else None,
        )  # fmt: skip
        if queue is not None:
            reason = {"ready": "ready", "error": "failed"}[queue]
            await connection.execute(
                "INSERT INTO queue (message_id, port, direction, status, reason, error) "
                "VALUES ($1, $2, 'out', $3, $4, 'no room')",
                number, port, queue, reason,
            )  # fmt: skip


async def send(store: Store, number: int, outcome: str = "sent") -> None:
    async with store.transaction() as connection:
        await connection.execute("DELETE FROM queue WHERE message_id = $1", number)
        await connection.execute(
            "UPDATE message SET outcome = $2, finished_at = clock_timestamp() WHERE id = $1", number, outcome
        )


def outbound(**options: Any) -> dict[str, Any]:
    return {"direction": "outbound", "send": {"folder": "/srv/out"}, "operations": ["S.read"], **options}


async def test_deliveries_of_a_port_are_sessions(world: ExchangeWorld, tmp_path: Path) -> None:
    world.ports = {"copies": outbound(sessions="shops"), "others": outbound(send={"folder": "/srv/others"})}
    (tmp_path / "told").mkdir()
    world.of_store["sessions"] = str(tmp_path / "told")
    for number in (1, 2, 3):
        await delivery(world.store, number)
    await delivery(world.store, 4, queue=None)
    await delivery(world.store, 5, port="others")
    await world.run()
    assert {one.number: one.status for one in await world.sessions()} == {
        1: SessionStatus.STARTED, 2: SessionStatus.STARTED, 3: SessionStatus.STARTED, 4: SessionStatus.AVAILABLE,
    }  # fmt: skip
    async with world.store.transaction() as connection:
        await connection.execute(
            "UPDATE queue SET status = 'error', reason = 'failed', error = 'no room' WHERE message_id = 2"
        )
    await send(world.store, 1)
    await send(world.store, 3, "deleted")
    await world.run()
    assert {one.number: (one.status, one.text) for one in await world.sessions() if one.number < 4} == {
        1: (SessionStatus.AVAILABLE, None),
        2: (SessionStatus.CREATE_FAILED, "no room"),
        3: (SessionStatus.CANCELED, "The message was deleted from the queue."),
    }
    assert (await world.session(1)).path == "/srv/out/1.xml"
    await world.station.write(Message(station="copies", number=1, status="Applied"))
    await send(world.store, 2)
    await world.run()
    await world.run()
    assert {one.number: one.status for one in await world.sessions() if one.number < 3} == {
        1: SessionStatus.APPLIED,
        2: SessionStatus.AVAILABLE,
    }
    told = {path.name: etree.fromstring(path.read_bytes()) for path in (tmp_path / "told").iterdir()}
    assert set(told) == {f"copies.download.{number}.xml" for number in range(1, 5)}
    schema = etree.XMLSchema(etree.parse(schemas.FOLDER / "exchange" / "Session.xsd"))
    for document in told.values():
        schema.assertValid(document)
    assert told["copies.download.3.xml"].findtext("{*}Status") == "Canceled"


async def test_session_told_is_withdrawn_when_it_is_purged(world: ExchangeWorld, tmp_path: Path) -> None:
    (tmp_path / "told").mkdir()
    world.of_store["sessions"] = str(tmp_path / "told")
    await world.station.write(Message(), Message(station="Ærø/../7"), Message(status="Applied"))
    await world.run()
    names = [path.name for path in (tmp_path / "told").iterdir()]
    assert len(names) == 2 and "STORE-12.download.7.xml" in names
    await world.age(31)
    await world.run()
    assert [path.name for path in (tmp_path / "told").iterdir()] == [name for name in names if "STORE" not in name]


@pytest.mark.parametrize("kind", ["database"])
async def test_station_reads_in_the_database_how_its_sessions_stand(world: ExchangeWorld) -> None:
    await world.station.write(Message(), Message(number=8))
    await world.run()
    assert await world.station.told() == {7: "started", 8: "started"}
    await operations.cancel_session(operator(world.store, principal=ANN), "STORE-12/8")
    await world.station.write(Message(status="Applied"))
    await world.run()
    assert await world.station.told() == {7: "applied", 8: "canceled"}
    await world.age(31)
    await world.run()
    assert await world.station.told() == {}


async def test_canceled_session_is_not_moved_by_any_message(world: ExchangeWorld) -> None:
    await world.station.write(Message())
    await world.run()
    done = await operations.cancel_session(operator(world.store, principal=ANN), "STORE-12/7")
    assert (done.status, done.text) == (SessionStatus.CANCELED, "Canceled by ann: bad data")
    await world.station.write(Message(status="Applied"))
    await world.run()
    assert (await world.session()).status is SessionStatus.CANCELED
    assert len(await world.messages()) == 2, "what it says is kept"
    with pytest.raises(IllegalTransition, match="has ended"):
        await operations.cancel_session(operator(world.store, principal=ANN), "STORE-12/7")
    page = await actions(operator(world.store, now=NOW), AskedActions())
    assert [(row.action, row.outcome, row.reason) for row in page.rows] == [
        ("session.cancel", "refused", "bad data"),
        ("session.cancel", "done", "bad data"),
    ]


async def test_rerun_starts_the_job_of_the_session(world: ExchangeWorld) -> None:
    job = JobDefinition(
        name="P-0001", partition="initial", company="DAT", tasks=(TaskDefinition(name="push", handler="sql"),)
    )
    await create_job(world.store, job, by="ann", now=NOW, status=JobStatus.WITHHOLD)
    async with world.store.transaction() as connection:
        await connection.execute(
            "INSERT INTO exchange_session (store, station, direction, number, status, rank, status_at, status_id, job) "
            "SELECT 'shops', 'S', 'download', n, s, 1, now(), gen_random_uuid(), j FROM (VALUES "
            "(1, 'apply_failed', 'P-0001'), (2, 'started', 'P-0001'), (3, 'applied', 'P-0002'), (4, 'canceled', NULL)) "
            "AS v (n, s, j)"
        )
    done = await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "S/1")
    assert done.run is not None
    assert (await world.session(1)).rerun_by == "ann"
    with pytest.raises(IllegalTransition, match="under way"):
        await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "S/2")
    with pytest.raises(IllegalTransition, match="is no job of this gateway"):
        await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "S/3")
    with pytest.raises(IllegalTransition, match="names no job"):
        await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "S/4")


async def test_rerun_of_a_delivery_releases_its_message(world: ExchangeWorld) -> None:
    world.ports = {"copies": outbound(sessions="shops")}
    await delivery(world.store, 1, queue="error")
    await delivery(world.store, 2, queue=None)
    await world.run()
    with pytest.raises(IllegalTransition, match="message 1, which is not sent yet"):
        await operations.cancel_session(operator(world.store, principal=ANN), "copies/1")
    done = await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "copies/1")
    assert done.message == 1
    async with world.store.transaction() as connection:
        assert await connection.fetchval("SELECT status FROM queue WHERE message_id = 1") == "ready"
    await world.station.write(Message(station="copies", number=2, status="ApplyFailed"))
    await world.run()
    with pytest.raises(IllegalTransition, match="has left the queue"):
        await operations.rerun_session(operator(world.store, principal=ANN, now=NOW), "copies/2")


async def test_session_is_found_by_its_number_and_by_its_station(world: ExchangeWorld) -> None:
    await world.station.write(Message(), Message(direction="Upload"), Message(number=8))
    await world.run()
    report = await operations.show_session(operator(world.store), "STORE-12/8")
    assert report.session.id == (await operations.find_session(operator(world.store), str(report.session.id))).id
    assert [message.status for message in report.messages] == ["started"]
    with pytest.raises(NotFound, match="several sessions"):
        await operations.find_session(operator(world.store), "STORE-12/7")
    for wrong in ("STORE-12", "/7", "99", "STORE-12/99", "0", ""):
        with pytest.raises(NotFound):
            await operations.find_session(operator(world.store), wrong)


async def test_lists_are_narrowed_and_go_on(world: ExchangeWorld) -> None:
    messages = [Message(number=number) for number in range(1, 6)]
    await world.station.write(*messages, Message(number=2, status="Available"))
    await world.run()
    settings = world.settings()
    page = await operations.sessions(operator(world.store, settings=settings), SessionFilter(), limit=2)
    assert [one.number for one in page.rows] == [5, 4] and page.before is not None
    rest = await operations.sessions(
        operator(world.store, settings=settings), SessionFilter(), before=page.before, limit=5
    )
    assert [one.number for one in rest.rows] == [3, 2, 1] and rest.before is None
    only = SessionFilter(statuses=[SessionStatus.AVAILABLE], station="STORE-12", store="shops")
    assert [one.number for one in (await operations.sessions(operator(world.store, settings=settings), only)).rows] == [
        2
    ]
    its = await operations.status_messages(operator(world.store, settings=settings), of_session="STORE-12/2", limit=10)
    assert [one.status for one in its.rows] == ["available", "started"]
    with pytest.raises(NotFound, match="did you mean 'shops'"):
        await operations.sessions(operator(world.store, settings=settings), SessionFilter(store="shop"))


async def test_stores_tell_of_their_passes_and_jobs(world: ExchangeWorld) -> None:
    job = JobDefinition(
        name="nightly", partition="initial", company="DAT",
        tasks=(TaskDefinition(name="upload", handler="status_messages", parameters={"stores": ["shops"]}),),
    )  # fmt: skip
    await create_job(world.store, job, by="ann", now=NOW, status=JobStatus.WITHHOLD)
    settings = world.settings()
    (before,) = await operations.message_stores(operator(world.store, settings=settings, principal=ANN))
    assert (before.name, before.kind, before.passed_at, list(before.jobs)) == ("shops", "folder", None, ["nightly"])
    await world.station.write(Message(), Message(status="Nonsense"), Message(number=9, status="Applied"))
    await world.run()
    (after,) = await operations.message_stores(operator(world.store, settings=settings, principal=ANN))
    assert (after.waiting, after.refused, after.error) == (1, 1, None) and after.passed_at is not None
    name, run = await operations.start_pass(
        operator(world.store, settings=settings, principal=ANN, now=NOW), name="shops"
    )
    assert name == "nightly" and run
    with pytest.raises(NotFound, match="no job copies"):
        await operations.start_pass(
            operator(world.store, settings=settings, principal=Principal(name="bob", partition="p2"), now=NOW),
            name=None,
        )
    assert [row.meaning for row in operations.retention(operator(world.store, settings=settings))] == [
        "kept for 30 days"
    ] * 2
