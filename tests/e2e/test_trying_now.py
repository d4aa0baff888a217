"""Once the cause is mended, an operator need not wait for the next try."""

import json
from pathlib import Path

from tests.documents import envelope, order
from tests.e2e import mended
from tests.e2e.test_outbound import gateway
from tests.site import Site, until


async def start_stopped(site: Site, sign: Path) -> None:
    """Start a gateway whose service works when there is *sign*, and let one request stop the port; one waits."""
    site.services["SalesOrderService"] = mended.SERVICE
    site.add_port(operations=["SalesOrderService.create"], process={"pause_after_failures": 1})
    await site.start(environment={mended.SIGN: str(sign)})
    for name in ("a.xml", "b.xml"):
        site.drop(name, envelope(order("1")).encode())

    async def stopped() -> bool:
        (port,) = json.loads((await gateway(site, "ports", "--json"))[1])["ports"]
        return "`gateway ports retry orders` tries at once" in (port["reason"] or "")

    await until(stopped, "the port says what to do", tell=site.tail)


async def test_stopped_port_is_tried_at_once(site: Site) -> None:
    sign = site.folder / "mended"
    await start_stopped(site, sign)
    sign.touch()
    code, out, err = await gateway(site, "ports", "retry", "orders", "--json")
    assert code == 0, err
    (retried,) = json.loads(out)["retried"]
    assert retried["port"] == "orders"
    await site.wait_answers(2, seconds=30)  # by itself it would try a minute after it stopped


async def test_stopped_port_goes_on_when_it_is_changed(site: Site) -> None:
    sign = site.folder / "mended"
    await start_stopped(site, sign)
    sign.touch()
    site.ports["orders"]["process"]["pause_after_failures"] = 2
    site.write_config()
    await site.wait_answers(2, seconds=30)


async def test_stopped_port_is_tried_at_once_after_a_start(site: Site) -> None:
    sign = site.folder / "mended"
    await start_stopped(site, sign)
    await site.stop()
    sign.touch()
    await site.start(environment={mended.SIGN: str(sign)})
    await site.wait_answers(2, seconds=30)


async def test_port_that_is_not_there_is_told(site: Site) -> None:
    site.add_port()
    site.write_config()
    code, _, err = await gateway(site, "ports", "retry", "ordesr")
    assert code == 1
    assert "did you mean orders?" in err
