"""The job that moves messages, as a job: parked, armed, timed, split, in history. Scenarios S22, S23."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from os import sysconf
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lxml import etree

from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.transitions import JobAction
from gateway.batch.store.cancel import cancel_job
from gateway.batch.store.jobs import Job, change_status, read_job
from gateway.batch.store.servers import assign_group, list_servers
from gateway.batch.store.starting import start_now
from gateway.db.clock import database_clock
from gateway.db.open import Store, Use, open_store
from tests.documents import SERVICES, batch, envelope, guid, order, single
from tests.e2e import rendezvous
from tests.hostile import sized
from tests.site import Site, until

TIMED = {"mode": "timed", "status": "withhold", "recurrence": {"every": "1 day"}, "history": "always"}
OTHER = {"status": "withhold", "history": "errors", "tasks": {"no": {"run": "command", "with": {"command": ["true"]}}}}
"""A job that has nothing to do with messages: its end shows that the gateway has looked for work meanwhile."""


@asynccontextmanager
async def visit(site: Site) -> AsyncIterator[Store]:
    """The store, beside the running gateway."""
    async with open_store(site.store, site.folder / "visitor", use=Use.VISIT) as store:
        yield store


async def job_of(store: Store, name: str = "gateway") -> Job:
    job = await read_job(store, name)
    assert job is not None
    return job


async def ask(store: Store, action: JobAction, name: str = "gateway") -> None:
    job = await job_of(store, name)
    await change_status(store, job.id, action, by="ann", now=await database_clock(store))


async def obeyed(site: Site, event: str, times: int = 1) -> None:
    """Wait until the gateway has heard of a change of its job."""

    async def heard() -> bool:
        return sum(told.get("event") == event for told in site.events()) >= times

    await until(heard, f"{event} is told", tell=site.tail)


async def runs(site: Site, *, ended: bool = True) -> list[Any]:
    return list(await site.query("SELECT * FROM run WHERE (ended_at IS NOT NULL) = $1 ORDER BY id", ended))


async def occurrence(site: Site, store: Store, name: str = "gateway") -> None:
    """Start an occurrence of a timed job and wait for its end."""
    run = await start_now(store, (await job_of(store, name)).id, by="ann", now=await database_clock(store))

    async def over() -> bool:
        (row,) = await site.query("SELECT ended_at FROM run WHERE id = $1", run)
        return row["ended_at"] is not None

    await until(over, "the occurrence ends", tell=site.tail)


async def nothing_moves(site: Site, store: Store, name: str) -> None:
    """See that a file stays where it is although the gateway has looked for work since it came, and done other work."""
    await other_work(store, site)
    assert (site.inbound() / name).exists()


async def other_work(store: Store, site: Site) -> None:
    """Let the gateway look for work twice, and do what has nothing to do with messages."""

    async def done(times: int) -> bool:
        other = await job_of(store, "other")
        return other.runs >= times and other.run_id is None

    other = await job_of(store, "other")
    for times in (other.runs + 1, other.runs + 2):
        await start_now(store, other.id, by="ann", now=await database_clock(store))
        await until(lambda times=times: done(times), "another job is done", tell=site.tail)


async def test_an_operator_parks_and_arms_the_job_and_what_it_did_is_a_run_with_its_tasks(site: Site) -> None:
    site.add_port()
    site.extra["jobs"] = {"other": OTHER}
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    await site.wait_answers(1)

    async def recorded() -> bool:  # on a machine that is busy it may have been more than one run
        tasks = await site.query(
            """SELECT t.name FROM run r JOIN run_task t ON t.run_id = r.id
               WHERE (r.job, r.cause, r.status, t.status) = ('gateway', 'event', 'ended', 'ended')"""
        )
        return {task["name"] for task in tasks} == {"receive", "inbound", "send"}

    await until(recorded, "what it did is in history", tell=site.tail)
    async with visit(site) as store:
        await ask(store, JobAction.WITHHOLD)
        await obeyed(site, "job.parked")
        site.drop("b.xml", single(envelope(message_id=guid(2))))
        await nothing_moves(site, store, "b.xml")  # unless the job is waiting
        await ask(store, JobAction.ARM)
        await site.wait_answers(2)
        await cancel_job(store, (await job_of(store)).id, by="ann", now=await database_clock(store))
        await obeyed(site, "job.parked", 2)
        site.drop("c.xml", single(envelope(message_id=guid(3))))
        await nothing_moves(site, store, "c.xml")
        assert (await job_of(store)).status is JobStatus.CANCELED
        await ask(store, JobAction.ARM)
        await site.wait_answers(3)


async def test_an_idle_gateway_writes_nothing_but_its_beats_and_uses_no_processor(site: Site) -> None:
    site.add_port()
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    await site.wait_answers(1)
    assert site.process is not None
    pid = site.process.pid

    async def writes() -> int:
        """How many transactions have written anything, on the whole server, but for beats."""
        (row,) = await site.query(
            """SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                      - (SELECT sum(beats) FROM incarnation)::bigint AS writes"""
        )
        return int(row["writes"])

    async def has_ended() -> bool:
        """Tell whether what a start and a file bring with them is in history: housekeeping, and a run."""
        return {"gateway", "housekeeping"} <= {row["name"] for row in await site.query(
            "SELECT name FROM job WHERE last_ended_at IS NOT NULL AND run_id IS NULL"
        )}  # fmt: skip

    await until(has_ended, "what was begun has ended", tell=site.tail)

    async def beats() -> int:
        (row,) = await site.query("SELECT sum(beats)::bigint AS beats FROM incarnation")
        return int(row["beats"])

    async def idle() -> bool:
        """Look at what it wrote until it has beaten once more: it does that as often as it looks for work."""
        before, worked, beaten = await writes(), cpu_seconds(pid), await beats()

        async def has_beaten() -> bool:
            return await beats() > beaten

        await until(has_beaten, "it beats", tell=site.tail)
        return await writes() == before and cpu_seconds(pid) - worked < 1.0

    await until(idle, "an idle gateway rests", seconds=70, tell=site.tail)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")


async def test_s22_the_timed_job(site: Site) -> None:
    site.add_port()
    site.extra["jobs"] = {"gateway": TIMED, "other": OTHER}
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    async with visit(site) as store:
        await nothing_moves(site, store, "a.xml")  # before Waiting
        await ask(store, JobAction.ARM)
        await site.wait_answers(1)

        async def over() -> bool:
            return bool(await runs(site))

        await until(over, "the first occurrence ends", tell=site.tail)
        (run,) = await runs(site)
        tasks = await site.query(
            "SELECT name, status, started_at, ended_at FROM run_task WHERE run_id = $1 ORDER BY position", run["id"]
        )
        assert [(task["name"], task["status"]) for task in tasks] == [
            (name, "ended") for name in ("receive", "inbound", "outbound", "send")
        ]
        assert all(before["ended_at"] <= after["started_at"] for before, after in pairwise(tasks))
        await ask(store, JobAction.WITHHOLD)
        job = await job_of(store)
        assert job.status is JobStatus.WITHHOLD and job.next_start > run["started_at"]
        site.drop("b.xml", single(envelope(message_id=guid(2))))
        await nothing_moves(site, store, "b.xml")


async def test_s22_the_services_split_over_two_jobs_handle_no_message_twice(site: Site) -> None:
    site.add_port()
    site.extra["jobs"] = {
        "gateway": {"active": False},
        "in": {"mode": "event", "tasks": {"receive": {"run": "receive"}, "inbound": {"run": "inbound"}}},
        "out": {"mode": "event", "tasks": {"outbound": {"run": "outbound"}, "send": {"run": "send"}}},
    }
    await site.start()
    for number in range(20):
        site.drop(f"{number:02}.xml", single(envelope(message_id=guid(number + 1))))
    await site.wait_answers(20)
    (row,) = await site.query("SELECT count(*) AS orders FROM entity")
    assert row["orders"] == 20

    async def both() -> bool:
        return {run["job"] for run in await runs(site)} == {"in", "out"}

    await until(both, "both jobs have runs", tell=site.tail)


async def test_a_server_that_does_not_serve_a_group_does_not_run_its_service(site: Site) -> None:
    site.add_port()
    tasks: dict[str, dict[str, str]] = {name: {"run": name} for name in ("receive", "inbound", "outbound", "send")}
    tasks["send"]["group"] = "elsewhere"
    site.extra["groups"] = {"elsewhere": {}}
    site.extra["servers"] = {"other": {"groups": ["elsewhere"]}}
    site.extra["jobs"] = {"gateway": {"mode": "event", "tasks": tasks}, "other": OTHER}
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))

    async def processed() -> bool:
        return bool(await site.query("SELECT 1 FROM queue WHERE direction = 'out'"))

    await until(processed, "the response waits to be sent", tell=site.tail)
    async with visit(site) as store:
        await other_work(store, site)
        assert site.answers() == {}
        (ours,) = [server for server in await list_servers(store) if server.incarnation is not None]
        await assign_group(store, ours.definition.name, "")
        await assign_group(store, ours.definition.name, "elsewhere")
    await site.wait_answers(1)


QUEUED = """SELECT m.message_id FROM queue q JOIN message m ON m.id = q.message_id
            WHERE q.direction = 'in' AND m.port = $1 ORDER BY m.id"""
FAILED = "SELECT message_id FROM exception WHERE severity = 'error' AND port = $1"


async def numbers(site: Site, sql: str, port: str) -> list[int]:
    """Return the numbers behind the MessageIds that a query finds of a port."""
    return [row["message_id"].int for row in await site.query(sql, port)]


def requests_answered(site: Site, port: str = "orders") -> list[int]:
    """Return the numbers of the requests that the answers name, in ascending order; each answer names one."""
    named = [etree.fromstring(answer).findtext(".//{*}RequestMessageId") for answer in site.answers(port).values()]
    return sorted(UUID(each or "").int for each in named)


POLICIES: dict[str, tuple[set[int], list[int]]] = {
    "continue": ({1, 2, 4, 5}, [3]), "halt": ({1, 2}, [3, 4, 5]), "rollback": (set(), [1, 2, 3, 4, 5]),
}  # fmt: skip
"""By error policy, which is also the name of the port: which of five messages are answered, and which are left."""


async def test_s23_batched_messages_and_order(site: Site) -> None:
    members = [envelope(order("ten") if number == 3 else order(), message_id=guid(number)) for number in range(1, 6)]
    for policy in POLICIES:
        site.add_port(policy, process={"mode": "sequential", "on_error": policy})
        for name, number in (("003_a", 13), ("001_b", 11), ("002_c", 12)):
            site.drop(f"{name}.xml", single(envelope(message_id=guid(number))), policy)
        site.drop("004_batch.xml", batch(members, 'BatchId="B"'), policy)
    site.extra["jobs"] = {"gateway": TIMED}
    await site.start()
    async with visit(site) as store:
        beginning = asyncio.create_task(occurrence(site, store))
        for policy in POLICIES:
            await site.wait_answers(1, policy)
            # receive has ended: it is for the next one
            site.drop("010_late.xml", single(envelope(message_id=guid(99))), policy)
        await beginning
        committed = 0
        for policy, (answered, left) in POLICIES.items():
            assert (site.inbound(policy) / "010_late.xml").exists()
            order_of = await site.query(
                """SELECT message_id FROM message WHERE direction = 'in' AND finished_at IS NOT NULL
                   AND outcome = 'processed' AND port = $1 ORDER BY finished_at, id""",
                policy,
            )
            done = [row["message_id"].int for row in order_of]
            assert done == [11, 12, 13, *sorted(answered)], policy
            assert await numbers(site, QUEUED, policy) == left
            assert await numbers(site, FAILED, policy) == [3]
            assert requests_answered(site, policy) == sorted([*done, 3])  # the bad one by a fault
            committed += len(done)
        (row,) = await site.query("SELECT count(*) AS orders FROM entity")
        assert row["orders"] == committed
        statuses = await site.query("SELECT DISTINCT status FROM run_task")
        assert [row["status"] for row in statuses] == ["ended"]  # the task is well although messages failed
        await occurrence(site, store)
    for policy in POLICIES:
        assert not (site.inbound(policy) / "010_late.xml").exists()


async def test_s23_only_a_parallel_port_that_continues_runs_messages_of_a_batch_at_the_same_time(site: Site) -> None:
    """On every kind of port, and on one whose batch has a ConversationId; a gateway works on two chunks at a time.

    All five at the same time, on several gateways: tests/integration/messaging/test_policies.py. A conversation on two
    gateways: tests/integration/messaging/test_order_table.py.
    """
    site.extra["workers"] = {"chunk": 1}
    site.services["Meeting"] = rendezvous.SERVICE
    began = {"continue": [1, 2, 3, 4, 5], "halt": [1, 2, 3], "rollback": [1, 2, 3]}
    answered = {"continue": [1, 2, 3, 4, 5], "halt": [1, 2, 3], "rollback": [3]}  # the bad one by a fault
    ports = {f"{mode}-{policy}": (mode, policy, "") for mode in ("sequential", "parallel") for policy in began}
    ports["conversation"] = ("parallel", "continue", 'ConversationId="c"')
    for port, (mode, policy, attributes) in ports.items():
        site.add_port(port, process={"mode": mode, "on_error": policy}, operations=["Meeting.*"])
        action = f"{SERVICES}/Meeting/{'together' if port == 'parallel-continue' else 'alone'}"
        members = [
            envelope(order(rendezvous.BAD if number == 3 else "10"), message_id=guid(number), action=action)
            for number in range(1, 6)
        ]
        site.drop("004_batch.xml", batch(members, f'BatchId="B" {attributes}'), port)
    site.extra["jobs"] = {"gateway": TIMED}
    folder = site.folder / "notes"
    folder.mkdir()
    await site.start(environment={rendezvous.NOTES: str(folder)})
    async with visit(site) as store:
        await occurrence(site, store)
    for port, (_, policy, _) in ports.items():
        found = rendezvous.notes(folder, port)
        if port == "parallel-continue":
            assert sorted(found[:2]) == ["begin 1", "begin 2"]
            assert sorted(found) == sorted(f"{what} {number}" for number in began[policy] for what in ("begin", "end"))
        else:
            assert found == [f"{what} {number}" for number in began[policy] for what in ("begin", "end")], port
        assert requests_answered(site, port) == answered[policy], port
    statuses = await site.query("SELECT DISTINCT status FROM run_task")
    assert [row["status"] for row in statuses] == ["ended"]


@pytest.mark.full
async def test_s23_a_message_of_ten_megabytes_is_refused_and_its_neighbours_are_not(site: Site) -> None:
    """At the edge of the limit; more of what is large is in test_bad_inputs.py."""
    site.add_port()
    site.extra["jobs"] = {"gateway": TIMED}
    await site.start()
    first, last = envelope(message_id=guid(1)), envelope(message_id=guid(4))
    site.drop("004_batch.xml", batch([first, sized(9_999_999), sized(10_000_000), last]))
    async with visit(site) as store:
        await occurrence(site, store)
    rows = await site.query("SELECT position, outcome FROM message WHERE direction = 'in' ORDER BY position")
    assert [row["position"] for row in rows if row["outcome"] == "processed"] == [1, 2, 4]
    rows = await site.query("SELECT code FROM exception WHERE severity = 'error'")
    assert [row["code"] for row in rows] == ["message.too-large"]
    statuses = await site.query("SELECT DISTINCT status FROM run_task")
    assert [row["status"] for row in statuses] == ["ended"]
