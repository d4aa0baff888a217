"""What moves a session, how long things are kept, and what a status message must hold."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from gateway.exchange.rules.message import StatusMessageRefused, Written, judge
from gateway.exchange.rules.retention import expires_before, gives_up
from gateway.exchange.rules.statuses import (
    FAILED,
    FINAL,
    RANKS,
    SAID,
    SessionDirection,
    SessionStatus,
    parse_status,
)

NOW = datetime(2031, 5, 5, tzinfo=UTC)
S = SessionStatus


@pytest.mark.parametrize(
    "way",
    [
        (S.STARTED, S.AVAILABLE, S.REQUESTED, S.DOWNLOADED, S.APPLIED),
        (S.STARTED, S.AVAILABLE, S.UPLOADED, S.APPLIED),
        (S.CREATE_FAILED, S.AVAILABLE),
        (S.UPLOAD_FAILED, S.UPLOADED),
        (S.DOWNLOAD_FAILED, S.DOWNLOADED),
        (S.APPLY_FAILED, S.NO_DATA, S.APPLIED, S.CANCELED),
    ],
)
def test_each_stage_ranks_above_the_one_before(way: tuple[SessionStatus, ...]) -> None:
    assert all(RANKS[before] < RANKS[after] for before, after in pairwise(way))


def test_failure_ranks_with_the_stage_that_is_tried_again() -> None:
    assert RANKS[S.CREATE_FAILED] == RANKS[S.STARTED]
    assert RANKS[S.DOWNLOAD_FAILED] == RANKS[S.REQUESTED]
    assert RANKS[S.UPLOAD_FAILED] == RANKS[S.AVAILABLE]
    assert RANKS[S.APPLY_FAILED] == RANKS[S.DOWNLOADED] == RANKS[S.UPLOADED]


def test_every_status_is_ranked_and_said_by_somebody_but_canceled() -> None:
    assert set(RANKS) == set(SessionStatus)
    assert SAID[SessionDirection.UPLOAD] | SAID[SessionDirection.DOWNLOAD] == set(SessionStatus) - {S.CANCELED}
    assert min(RANKS[status] for status in FINAL) > max(RANKS[status] for status in FAILED)


@pytest.mark.parametrize("text", ["Download failed", "download_failed", "DownloadFailed", " DOWNLOAD-FAILED "])
def test_status_is_read_however_it_is_written(text: str) -> None:
    assert parse_status(text) is S.DOWNLOAD_FAILED


def test_retention() -> None:
    assert expires_before(0, NOW) is None
    assert expires_before(-1, NOW) == NOW
    assert expires_before(30, NOW) == NOW - timedelta(days=30)


def test_tries() -> None:
    assert [gives_up(tries, 3) for tries in range(1, 6)] == [False, False, False, True, True]
    assert not gives_up(10_000, 0)


def written(**changes: object) -> Written:
    values: dict[str, object] = {
        "message_id": uuid4(), "station": " STORE-12 ", "direction": "Upload", "number": 7, "status": "Started",
        "at": datetime(2031, 5, 5, 2, tzinfo=UTC),
    }  # fmt: skip
    return Written(**{**values, **changes})  # type: ignore[arg-type]  # a test writes what it likes


def test_message_in_order_is_taken_as_it_is_meant() -> None:
    message = judge(written(text="  two\nlines\x00 ", path=" /srv/a ", job=""))
    assert (message.station, message.direction, message.rank, message.failed) == ("STORE-12", "upload", 1, False)
    assert (message.text, message.path, message.job) == ("two\nlines\ufffd", "/srv/a", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"direction": ""}, "must be upload or download"),
        ({"status": "Requested"}, "does not exist for the upload"),
        ({"status": "Canceled"}, "does not exist"),
        ({"number": 0}, "from 1 to"),
        ({"number": 2**63}, "from 1 to"),
        ({"rows": -1}, "must not be negative"),
        ({"at": datetime(2031, 5, 5)}, "needs a zone"),
        ({"at": datetime(1969, 5, 5, tzinfo=UTC)}, "1970 to 2999"),
        ({"station": "a\nb"}, "one line"),
        ({"station": "x" * 81}, "81 characters"),
        ({"path": "x" * 1001}, "1001 characters"),
        ({"station": "  "}, "is empty"),
    ],
)
def test_message_that_is_not_in_order_is_refused_with_the_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(StatusMessageRefused, match=reason):
        judge(written(**changes))
