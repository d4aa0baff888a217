"""The proofs can fail: a gateway that breaks one rule of the protocol loses or repeats, and they see it."""

from random import Random

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import effects
from tests.crash.site import CrashSite
from tests.crash.test_kill_points import USUAL, Chain, Death
from tests.crash.test_random_kills import kill_again_and_again
from tests.documents import batch, envelope, single
from tests.site import Site, until


async def nothing_more_comes(site: Site, partner: Partner) -> None:
    """Wait until a request dropped now is answered: whatever came before it has had its turn."""
    (last,) = partner.new_ids(1)
    site.drop("zzz.xml", single_of(last))

    async def over() -> bool:
        (row,) = await site.query("SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM lease) AS left")
        return last in partner.answered and bool(row["left"] == 0)

    await until(over, "the last request is answered", tell=site.tail)


def single_of(message_id: str) -> bytes:
    return single(envelope(message_id=message_id))


@pytest.mark.parametrize(
    ("build", "point", "harm"),
    [
        ("rename_then_mark", "send.before_sent", "twice"),
        ("archive_before_commit", "ingest.before_commit", "lost"),
        ("no_recovery", "claim.inbound.flushed", "lost"),
    ],
)
async def test_death_at_a_point_shows_a_broken_rule(crash_site: CrashSite, build: str, point: str, harm: str) -> None:
    crash_site.add_port(**USUAL.options)
    with Partner(crash_site) as partner:
        await Chain(crash_site, partner, USUAL).die(Death(point=point), build)
        await crash_site.run(build=build)
        await nothing_more_comes(crash_site, partner)
    assert partner.verdict()[harm] > 0


async def test_batch_that_is_processed_while_it_is_read_has_effects_although_it_is_cut_off(
    crash_site: CrashSite,
) -> None:
    crash_site.add_port(receive={"grace_seconds": 0.3})
    with Partner(crash_site) as partner:
        crash_site.drop("cut.xml", batch([envelope(message_id=one) for one in partner.new_ids(3)])[:-40])
        await crash_site.run(build="processed_while_parsing")

        async def answered() -> bool:
            return len(partner.values) > 0

        await until(answered, "a part of it is answered", tell=crash_site.tail)
    assert sum((await effects(crash_site)).values()) > 0


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("build", "harm"), [("rename_then_mark", "twice"), ("archive_before_commit", "lost")])
async def test_random_kills_show_a_broken_rule(crash_site: CrashSite, chance: Random, build: str, harm: str) -> None:
    """The window of a few milliseconds is hit sooner or later."""
    crash_site.add_port(**USUAL.options)
    with Partner(crash_site, seed=chance.random()) as partner:
        for _ in range(30):
            await kill_again_and_again(crash_site, partner, chance, 10, build)
            await nothing_more_comes(crash_site, partner)
            await crash_site.kill()
            if partner.verdict()[harm]:
                break
    assert partner.verdict()[harm] > 0
