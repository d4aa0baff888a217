"""An alert is told at least once and recorded once, whenever the gateway dies; told again, it has the same name."""

import pytest

from tests.crash.site import CrashSite
from tests.mailbox import Mailbox, mail_server
from tests.site import until

POINTS = {"alert.before_send": 1, "alert.after_send": 2, "alert.before_commit": 2}
"""How many mails go out when the gateway dies at a point, once, and is started again."""


def a_failing_job(site: CrashSite, port: int) -> None:
    site.extra |= {
        "mail": {"host": "127.0.0.1", "port": port, "tls": "none"},
        "jobs": {
            "failing": {
                "tasks": {"fail": {"run": "command", "with": {"command": ["false"]}}},
                "alerts": {"ann@example.com": {"on": "error", "by": ["email", "popup"]}},
            }
        },
    }


async def told_and_recorded(site: CrashSite) -> bool:
    rows = await site.query("SELECT channel, status FROM alert ORDER BY channel")
    return [tuple(row) for row in rows] == [("email", "sent"), ("popup", "sent")]


@pytest.mark.parametrize("point", POINTS)
async def test_death_while_telling_repeats_under_the_same_name_and_records_once(
    crash_site: CrashSite, point: str
) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        a_failing_job(crash_site, port)
        life = crash_site.launch(faults=f"{point}:1:kill")
        await life.wait()
        await crash_site.run()
        await until(lambda: told_and_recorded(crash_site), "the alert is recorded", tell=crash_site.tail)
        assert await crash_site.stop() == 0
    assert len(mailbox.mails) == POINTS[point]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1


async def test_recording_before_telling_loses_an_alert(crash_site: CrashSite) -> None:
    """The proof can fail: whoever records first tells nobody when it dies in between."""
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        a_failing_job(crash_site, port)
        life = crash_site.launch(faults="alert.before_send:1:kill", build="record_then_tell")
        await life.wait()
        await crash_site.run(build="record_then_tell")
        await until(lambda: told_and_recorded(crash_site), "the alert counts as told", tell=crash_site.tail)
        assert await crash_site.stop() == 0
    assert mailbox.mails == []
