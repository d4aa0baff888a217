"""Once the cause is mended, an operator need not wait for the next try."""

from tests.documents import envelope, order
from tests.e2e import mended
from tests.e2e.operator import ask, gateway
from tests.site import Site, until

PORTS = ("retried", "changed", "restarted")


async def stopped(site: Site) -> set[str]:
    """Return the ports that say how they can be tried at once."""
    ports = (await ask(site, "ports"))["ports"]
    reasons = {port["port"]: port["reason"] or "" for port in ports}
    return {name for name, reason in reasons.items() if f"retries the port {name}." in reason}


async def put_off(site: Site) -> None:
    """Let ports that are stopped try by themselves a minute from now: what is answered before was tried at once."""
    await site.query(
        "UPDATE port_health SET paused_until = clock_timestamp() + interval '59 s' WHERE paused_until IS NOT NULL"
    )


async def answered(site: Site, port: str) -> None:
    await site.wait_answers(2, port, seconds=55)


async def test_stopped_port_goes_on_when_it_is_retried_or_changed_and_after_a_start(site: Site) -> None:
    sign = site.folder / "mended"
    site.services["SalesOrderService"] = mended.SERVICE
    for name in PORTS:
        site.add_port(name, operations=["SalesOrderService.create"], process={"pause_after_failures": 1})
    await site.start(environment={mended.SIGN: str(sign)})
    for port in PORTS:
        for name in ("a.xml", "b.xml"):  # one stops the port, the other waits
            site.drop(name, envelope(order("1")).encode(), port)

    async def all_stopped() -> bool:
        return await stopped(site) == set(PORTS)

    await until(all_stopped, "the ports say what to do", tell=site.tail, pause=0.3)
    sign.touch()

    await put_off(site)
    (retried,) = (await ask(site, "ports", "retry", "retried"))["retried"]
    assert retried["port"] == "retried"
    await answered(site, "retried")

    await put_off(site)
    site.ports["changed"]["process"]["pause_after_failures"] = 2
    site.write_config()
    await answered(site, "changed")

    assert await site.stop() == 0
    await put_off(site)
    await site.start(environment={mended.SIGN: str(sign)})
    await answered(site, "restarted")


async def test_port_that_is_not_there_is_told(site: Site) -> None:
    site.add_port()
    site.write_config()
    code, _, err = await gateway(site, "ports", "retry", "ordesr")
    assert code == 1
    assert "did you mean orders?" in err
