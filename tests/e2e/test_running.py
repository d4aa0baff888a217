"""A gateway that runs: it takes changes of its configuration, survives, and stops in order."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.documents import SERVICES, batch, envelope, guid, single
from tests.e2e.operator import gateway
from tests.site import Site, until

HANDLER = """
from gateway.kernel.errors import OperationRejected


async def ask(request, context):
    raise OperationRejected({refusal})
"""


async def event(site: Site, name: str, **fields: Any) -> dict[str, Any]:
    """Wait for an event in the log and return it."""
    found: list[dict[str, Any]] = []

    async def said() -> bool:
        found[:] = [
            e for e in site.events() if e.get("event") == name and all(e.get(k) == v for k, v in fields.items())
        ]
        return bool(found)

    await until(said, f"the event {name} {fields}", tell=site.tail)
    return found[-1]


async def test_changed_configuration_opens_and_closes_only_the_changed_ports(site: Site) -> None:
    site.add_port("one").add_port("two")
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))), "one")
    await site.wait_answers(1, "one")
    site.ports["two"]["active"] = False
    site.add_port("three")
    site.write_config()
    reloaded = await event(site, "config.reloaded")
    assert (reloaded["added"], reloaded["removed"], reloaded["changed"]) == (["three"], [], ["two"])
    site.drop("b.xml", single(envelope(message_id=guid(2))), "three")
    await site.wait_answers(1, "three")
    site.drop("c.xml", single(envelope(message_id=guid(3))), "two")
    site.drop("d.xml", single(envelope(message_id=guid(4))), "one")
    await site.wait_answers(2, "one")
    assert site.answers("two") == {} and [p.name for p in site.inbound("two").iterdir()] == ["c.xml"]
    opened = [e["port"] for e in site.events() if e.get("event") == "port.opened"]
    assert opened.count("one") == 1, "an unchanged port does not notice"


async def test_invalid_change_is_refused_whole_and_the_old_configuration_goes_on(site: Site) -> None:
    site.add_port("one")
    site.extra["alerts"] = {"ports": {"one": {"to": {"ann": {"on": ["error"], "by": ["popup"]}}}}}
    site.extra["mail"] = {"host": "mail.example.com", "user": "gateway", "password": "${ONLY_THE_GATEWAY_KNOWS}"}
    await site.start(environment={"ONLY_THE_GATEWAY_KNOWS": "secret"})
    site.add_port("two")
    site.ports["one"]["receive"]["setle_seconds"] = 3
    site.write_config()
    refused = await event(site, "config.refused")
    assert any("setle_seconds" in problem and "settle_seconds" in problem for problem in refused["problems"])
    site.drop("a.xml", single(envelope(message_id=guid(1))), "one")
    await site.wait_answers(1, "one")
    assert not [e for e in site.events() if e.get("event") == "port.opened" and e.get("port") == "two"]
    # nobody is locked out meanwhile, and whoever hears of ports hears of it
    site.config.write_text("ports: [\n")
    await until(lambda: _count(site, "SELECT 1 FROM exception WHERE code = 'config.refused'", 2), "both are told")
    code, printed, said = await gateway(site, "ports", "--json")
    assert code == 0 and [row["port"] for row in json.loads(printed)["ports"]] == ["one"]
    assert "config.yaml:2" in said and "goes on with the configuration from before" in said
    alerts = "SELECT 1 FROM alert WHERE user_name = 'ann' AND subject LIKE '%was refused'"
    await until(lambda: _count(site, alerts, 2), "she hears of both", tell=site.tail)
    assert not [path for path in site.data.iterdir() if path.is_file() and b"secret" in path.read_bytes()]


async def test_change_that_only_the_database_refuses_is_used_nowhere(site: Site) -> None:
    site.add_port("one")
    await site.start()
    site.extra["jobs"] = {"mine": {"tasks": {"a": {"run": "command", "with": {"command": ["true"]}}}}}
    await site.query(
        "INSERT INTO job (partition_key, name, description, status, company, created_by, original_start, next_start)"
        " VALUES ('initial', 'mine', 'mine', 'withhold', 'DAT', 'ann', now(), now())"
    )
    site.extra["groups"] = {"heavy": {}}
    site.add_port("two")
    old = site.ports.pop("one")
    site.write_config()
    refused = await event(site, "config.refused")
    assert "a job named mine exists already" in refused["problems"][0]
    site.drop("a.xml", single(envelope(message_id=guid(1))), "one")
    await site.wait_answers(1, "one")
    opened = [e["port"] for e in site.events() if e.get("event") == "port.opened"]
    assert opened == ["one"] and not [e for e in site.events() if e.get("event") == "port.closed"]
    assert not await site.query("SELECT 1 FROM batch_group WHERE name = 'heavy'")
    site.ports["one"] = old
    del site.extra["jobs"]
    site.write_config()
    reloaded = await event(site, "config.reloaded")
    assert reloaded["added"] == ["two"], "once nothing is wrong, all of it is used"
    assert await site.query("SELECT 1 FROM batch_group WHERE name = 'heavy'")


async def test_changed_code_of_a_handler_serves_and_broken_code_is_refused(site: Site) -> None:
    handler = site.folder / "my_handlers.py"

    def write(refusal: str) -> None:
        fresh = handler.with_suffix(".new")
        fresh.write_text(HANDLER.format(refusal=refusal))
        fresh.replace(handler)

    async def says(number: int, words: str) -> None:
        site.drop(f"{number}.xml", single(envelope(message_id=guid(number), action=f"{SERVICES}/Mine/ask")), "one")
        answers = await site.wait_answers(number, "one")
        assert [content for content in answers.values() if words.encode() in content]

    write('"the first"')
    site.services["Mine"] = {"kind": "python", "operations": {"ask": {"handler": "my_handlers:ask"}}}
    site.add_port("one", operations=["Mine.*"])
    await site.start()
    await says(1, "the first")
    write("1 +")
    refused = await event(site, "config.refused")
    assert "my_handlers.py, line 6" in refused["problems"][0]
    await says(2, "the first")
    write('"another one"')
    reloaded = await event(site, "config.reloaded")
    assert reloaded["code"] == [str(handler)]
    await says(3, "another one")


async def _count(site: Site, sql: str, number: int) -> bool:
    return len(await site.query(sql)) == number


async def test_full_queue_stops_the_intake_and_says_so(site: Site) -> None:
    site.extra["queue"] = {"min_free_bytes": 10**15}
    site.add_port()
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    paused = await event(site, "port.paused")
    assert "free" in paused["reason"]
    assert [p.name for p in site.inbound().iterdir()] == ["a.xml"], "the partner can see it wait"
    site.extra["queue"] = {"min_free_bytes": 0}
    site.write_config()
    await site.wait_answers(1)


async def test_second_gateway_on_the_same_data_is_refused_with_the_reason(embedded_site: Site) -> None:
    embedded_site.add_port()
    await embedded_site.start()
    assert embedded_site.process is not None
    second = Site(embedded_site.folder)
    second.ports = embedded_site.ports
    try:
        await second.start()
    except AssertionError as error:
        assert "ended at its start with 1" in str(error)
        assert str(embedded_site.process.pid) in str(error), "it names the other process"
    else:
        await second.close()
        raise AssertionError("two gateways run on one data folder")
    embedded_site.drop("a.xml", batch([envelope(message_id=guid(n)) for n in (1, 2)]))
    await embedded_site.wait_answers(2)
    assert await embedded_site.stop() == 0


async def test_gateway_with_embedded_database_survives_a_kill(embedded_site: Site) -> None:
    embedded_site.add_port()
    await embedded_site.start()
    _leaves_no_memory_behind(embedded_site)
    warned = [event for event in embedded_site.events() if event.get("event") == "gateway.runs_as_root"]
    assert len(warned) == (1 if os.geteuid() == 0 else 0)
    embedded_site.drop("a.xml", single(envelope(message_id=guid(1))))
    await embedded_site.wait_answers(1)
    await embedded_site.stop(signal.SIGKILL)
    embedded_site.drop("b.xml", single(envelope(message_id=guid(1))))
    embedded_site.drop("c.xml", single(envelope(message_id=guid(2))))
    await embedded_site.start()
    answers = await embedded_site.wait_answers(3)
    assert sum(b"DuplicateMessage" in content for content in answers.values()) == 1
    assert await embedded_site.stop(signal.SIGINT) == 0
    assert not Path(embedded_site.data / "postgres" / "postmaster.pid").exists()


def _leaves_no_memory_behind(site: Site) -> None:
    """Core dumps are off for the gateway, its database and its readers, also those that go to a program."""
    assert site.process is not None
    gateway = psutil.Process(site.process.pid)
    children = gateway.children(recursive=True)
    assert len(children) > 1
    for process in (gateway, *children):
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
            limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
            (core,) = (row.split()[-3:] for row in limits if row.startswith("Max core file size"))
            assert core == ["1", "1", "bytes"]
