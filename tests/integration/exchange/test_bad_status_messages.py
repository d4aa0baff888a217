"""Status messages that are broken, repeated, early, late or about nothing: each ends in a known place, none is lost."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.exchange import MessageStoreAway, MessageStoreUnusable, SessionStatus, records
from gateway.exchange.transfer import FAULT_POINTS
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.faultpoints import InjectedFault, switched_on
from tests.integration.exchange.world import STORE, ExchangeWorld, FolderStation, Held, Message

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"status": "Uplaoded"}, "Uplaoded"),
        ({"status": "Uploaded"}, "uploaded' does not exist|'Uploaded' does not exist"),
        ({"status": "Canceled"}, "Canceled"),
        ({"direction": "Sideways"}, "Sideways"),
        ({"number": 0}, "0"),
        ({"station": " "}, "station|Station"),
        ({"rows": -1}, "-1"),
    ],
)
async def test_broken_message_is_set_aside_with_its_reason(
    world: ExchangeWorld, wrong: dict[str, object], reason: str
) -> None:
    await world.station.write(Message(), Message(**wrong), Message(status="Available"))
    assert (await world.run())["refused"] == 1
    assert (await world.session()).status is SessionStatus.AVAILABLE, "others go on"
    assert await world.station.held() == Held(waiting=0, uploaded=2, refused=1)
    (trouble,) = await world.troubles()
    assert trouble.refused
    assert any(part in trouble.text for part in reason.split("|")), trouble.text
    assert any("refused" in line for line in world.said)
    assert "refused" not in await world.run(), "once"


@pytest.mark.parametrize("kind", ["folder"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<StatusMessage", "not"),
        (b"", "empty"),
        (b"<a xmlns='urn:b'/>", "No matching global declaration"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><StatusMessage/>", "DOCTYPE"),
        (Message().xml().replace(b"<Status>", b"<Status><b/>"), "Line 1"),
        (b"<a>" + b"x" * 70_000 + b"</a>", "65,536"),
        (Message().xml().replace(NOW.strftime("%Y-%m-%dT%H").encode(), b"2026-02-31T25"), "Line 1"),
    ],
)
async def test_file_that_is_no_status_message_lies_in_the_refused_folder(
    world: ExchangeWorld, content: bytes, reason: str
) -> None:
    world.of_store["grace_seconds"] = 0.0
    station = world.station
    assert isinstance(station, FolderStation)
    station.put(content, "bad.xml")
    await world.run()
    (refused,) = station.own.glob("refused/*~bad.xml")
    assert refused.read_bytes() == content
    assert reason in refused.with_name(f"{refused.name}.txt").read_text()


@pytest.mark.parametrize("kind", ["folder"])
async def test_half_written_file_is_left_alone_until_it_is_whole(world: ExchangeWorld) -> None:
    station = world.station
    assert isinstance(station, FolderStation)
    content = Message().xml()
    station.put(content[:-20], "half.xml")
    assert await world.run() == {}
    assert "half.xml was left in the folder" in world.said[-1]
    assert await station.held() == Held(waiting=1, uploaded=0, refused=0)
    with (station.folder / "half.xml").open("ab") as file:
        file.write(content[-20:])
        file.flush()
        assert await world.run() == {}, "somebody still has it open"
    assert (await world.run())["messages"] == 1


@pytest.mark.parametrize("kind", ["folder"])
@pytest.mark.parametrize(("try_count", "passes"), [(3, 4), (0, None)])
async def test_file_that_cannot_be_read_is_tried_again(
    world: ExchangeWorld, monkeypatch: pytest.MonkeyPatch, try_count: int, passes: int | None
) -> None:
    """S24: 0 means unlimited tries, 3 means three retries."""
    world.options = {"try_count": try_count}
    await world.station.write(Message(), Message(status="Available"))
    bad = world.station.folder / "000002.xml"
    inode = bad.stat().st_ino
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if os.fstat(fd).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(fd, size)

    monkeypatch.setattr("gateway.exchange.folder.os.read", read)
    for number in range(1, 8):
        world.new_process()
        await world.run()
        (trouble,) = await world.troubles()
        assert trouble.refused is (passes is not None and number >= passes), number
        if trouble.refused:
            assert "Given up after 4 tries" in trouble.text
            assert await world.station.held() == Held(waiting=0, uploaded=1, refused=1)
            return
        assert trouble.tries == number
    monkeypatch.undo()
    assert (await world.run())["messages"] == 1
    assert await world.troubles() == []


async def test_repeated_message_counts_once(world: ExchangeWorld) -> None:
    once = Message()
    await world.station.write(once, once)
    await world.run()
    await world.station.write(once)
    assert (await world.run())["repeated"] == 1
    assert len(await world.messages()) == 1
    assert await world.station.held() == Held(waiting=0, uploaded=1, refused=0)


async def test_repetition_of_what_was_purged_is_known(world: ExchangeWorld) -> None:
    world.options = {"download_session_days": -1}
    messages = [Message(), Message(status="Applied")]
    await world.station.write(*messages)
    await world.run()
    await world.station.write(*messages)
    assert dict(await world.run()) == {"repeated": 2}
    assert await world.messages() == [] and await world.sessions() == []


async def test_other_message_with_a_known_id_is_refused(world: ExchangeWorld) -> None:
    one = Message()
    await world.station.write(one, Message(message_id=one.message_id, number=8))
    assert (await world.run())["refused"] == 1
    (trouble,) = await world.troubles()
    assert str(one.message_id) in trouble.text
    assert [session.number for session in await world.sessions()] == [7]


async def test_message_of_an_unknown_session_waits_for_it(world: ExchangeWorld) -> None:
    await world.station.write(Message(status="Applied", at=NOW))
    await world.run()
    (waiting,) = await world.messages(waiting=True)
    assert waiting.problem == "unknown_session" and await world.sessions() == []
    await world.station.write(Message(at=NOW - timedelta(minutes=9)))
    await world.run()
    assert (await world.session()).status is SessionStatus.APPLIED
    assert await world.messages(waiting=True) == []


async def test_message_from_the_future_waits_until_its_time_has_come(world: ExchangeWorld) -> None:
    ahead = Message(status="Applied", at=NOW + timedelta(days=2))
    await world.station.write(Message(), ahead, Message(number=8, at=NOW + timedelta(days=2)))
    await world.run()
    assert {message.problem for message in await world.messages(waiting=True)} == {"future"}
    assert (await world.session()).status is SessionStatus.STARTED
    async with world.store.transaction() as connection:
        await connection.execute("UPDATE status_message SET at = $1 WHERE session_id IS NULL", NOW)
    await world.run()
    assert {session.status for session in await world.sessions()} == {SessionStatus.APPLIED, SessionStatus.STARTED}


async def test_waiting_message_is_not_removed_at_once(world: ExchangeWorld) -> None:
    world.options = {"download_session_days": -1}
    await world.station.write(Message(status="Applied"))
    await world.run()
    await world.run()
    assert len(await world.messages()) == 1
    await world.age(31)
    await world.run()
    assert await world.messages() == []


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_killed_anywhere_and_run_again_each_message_is_stored_once(world: ExchangeWorld, point: str) -> None:
    world.options = {"download_session_days": 30}
    old = [Message(number=place, status="Applied") for place in range(1, 5)]
    await world.station.write(*(Message(number=place) for place in range(1, 5)), *old)
    await world.run()
    await world.age(31)
    new = [Message(number=5), Message(number=5, status="Available"), Message(number=5, status="Nonsense")]
    await world.station.write(*new, old[0])
    with switched_on(f"{point}:1:raise"), pytest.raises(InjectedFault):
        await world.run()
    world.new_process()
    await world.run()
    assert {message.message_id for message in await world.messages()} == {m.message_id for m in new[:2]}
    assert await world.station.held() == Held(waiting=0, uploaded=2, refused=1)
    assert [(one.number, one.status) for one in await world.sessions()] == [(5, SessionStatus.AVAILABLE)]


@pytest.mark.parametrize("kind", ["database"])
async def test_message_database_that_was_put_back_to_yesterday(world: ExchangeWorld) -> None:
    """What it gives again is known; new rows that have numbers of old ones are copied and not removed for them."""
    await world.station.write(Message(), Message(status="Available"))
    await world.run()
    connection = await world.station.connection()
    await connection.execute("UPDATE exchange.status_message SET uploaded_at = NULL WHERE id = 1")
    await connection.execute(
        "UPDATE exchange.status_message SET uploaded_at = NULL, message_id = $1 WHERE id = 2", uuid4()
    )
    await connection.execute("UPDATE exchange.status_message SET status = 'requested' WHERE id = 2")
    counts = dict(await world.run())
    assert counts == {"messages": 1}
    assert (await world.session()).status is SessionStatus.REQUESTED and len(await world.messages()) == 3
    assert await world.station.held() == Held(waiting=0, uploaded=2, refused=0)


@pytest.mark.parametrize("kind", ["database"])
async def test_message_database_that_is_away_is_told_and_tried_again(world: ExchangeWorld) -> None:
    right = world.of_store["database"]
    world.of_store["database"] = "postgresql://nobody@127.0.0.1:1/away"
    with pytest.raises(MessageStoreAway, match="The message store shops cannot be used now"):
        await world.run()
    (known,) = await records.read_stores(world.store)
    assert known.error is not None and known.passed_at is None
    world.of_store["database"] = right
    await world.station.write(Message())
    await world.run()
    (known,) = await records.read_stores(world.store)
    assert known.error is None and known.passed_at is not None


@pytest.mark.parametrize("kind", ["database"])
async def test_message_database_with_other_tables_says_what_is_wrong(world: ExchangeWorld) -> None:
    connection = await world.station.connection()
    await connection.execute("ALTER TABLE exchange.status_message DROP COLUMN text")
    with pytest.raises(MessageStoreUnusable, match="tables were changed"):
        await world.run()


@pytest.mark.parametrize("kind", ["folder"])
async def test_folder_that_is_missing_is_told(world: ExchangeWorld, tmp_path: Path) -> None:
    world.of_store["folder"] = str(tmp_path / "mnt" / "share" / "status")
    with pytest.raises(MessageStoreAway, match=r"data_exchange\.stores\.shops\.folder"):
        await world.run()


async def test_database_of_the_gateway_that_goes_is_not_the_message_stores_trouble(
    world: ExchangeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.station.write(Message())

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database cannot be reached")

    monkeypatch.setattr("gateway.exchange.transfer.records.store_messages", away)
    with pytest.raises(StoreUnavailable):
        await world.run()
    monkeypatch.undo()
    world.new_process()
    assert (await world.run())["messages"] == 1
    assert await world.station.held() == Held(waiting=0, uploaded=1, refused=0)
    (known,) = await records.read_stores(world.store)
    assert known.store == STORE and known.error is None
