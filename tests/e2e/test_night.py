"""Troubles of a night: each is found with one command, and mended with what that command says."""

import json
import shlex
from typing import Any

from tests.documents import batch, envelope, order, single
from tests.e2e import mended
from tests.e2e.operator import gateway
from tests.site import Site, until


async def found(site: Site, *codes: str) -> dict[str, dict[str, Any]]:
    """Wait until the doctor finds all of these; return them by code."""
    last: dict[str, dict[str, Any]] = {}

    async def told() -> bool:
        status, out, err = await gateway(site, "doctor", "--json")
        assert not err
        last.update((one["code"], one) for one in json.loads(out)["findings"])
        assert status == (1 if last else 0)
        return last.keys() >= set(codes)

    await until(told, f"the doctor finds {codes}", tell=site.tail, pause=1.0)
    return last


async def paste(site: Site, finding: dict[str, Any], *, command: int = 0) -> None:
    """Run a command that the doctor told, as it stands there."""
    words = shlex.split(finding["way_out"].split("`")[2 * command + 1])
    assert words[0] == "gateway"
    code, _, err = await gateway(site, *words[1:], *(["--yes"] if "queue" in words else []))
    assert code == 0, err


async def test_each_trouble_is_found_with_one_command_and_mended_with_the_one_it_tells(site: Site) -> None:
    sign = site.folder / "mended"
    site.services["SalesOrderService"] = mended.SERVICE
    site.add_port(
        operations=["SalesOrderService.create"],
        process={"mode": "sequential", "on_lane_error": "block", "retries": 1},
    )
    await site.start(environment={mended.SIGN: str(sign)})

    # No XML; a service that does not work, whose failure blocks the lane; an outbound folder that is away.
    away = site.outbound().rename(site.folder / "away")
    good = single(envelope(order()))
    site.drop("a.xml", good.replace(b"</Header>", b"</Haeder>"))
    site.drop("b.xml", good)
    site.drop("c.xml", batch([envelope(order()), envelope(order())]))
    told = await found(site, "file-refused", "service-fails", "lane-stopped", "port-degraded", "answer-not-delivered")
    what = {code: one["what"][0] for code, one in told.items()}
    assert "a.xml" in what["file-refused"] and "Haeder" in what["file-refused"]
    assert "b.xml" in what["service-fails"] and "Connection refused" in what["lane-stopped"]
    assert str(site.outbound()) in what["port-degraded"]
    assert all(one["since"] for one in told.values())

    # Then somebody puts the job on hold.
    assert (await gateway(site, "jobs", "hold", "gateway"))[0] == 0
    held = await found(site, "service-stopped")

    sign.touch()
    away.rename(site.outbound())
    site.drop("a.xml", good)
    await paste(site, held["service-stopped"])
    await paste(site, told["lane-stopped"])
    await paste(site, told["file-refused"], command=1)

    answers = await site.wait_answers(5)

    async def in_order() -> bool:
        return (await gateway(site, "doctor"))[0] == 0

    await until(in_order, "everything is in order", tell=site.tail, pause=1.0)
    requests = sorted(name.rsplit(".", 2)[0] for name in answers if not name.endswith(".fault.xml"))
    assert requests == ["a.000001", "b.000001", "c.000001", "c.000002"]
    assert len(site.answers()) == 5, "one fault besides"
