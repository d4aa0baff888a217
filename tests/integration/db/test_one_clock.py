"""The times of a row are all of one clock, the database's: that of a gateway may be wrong."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import TransientError
from gateway.messaging.delivery import promises as outbound
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.processing import claims as inbound
from gateway.messaging.queue import requests
from gateway.messaging.queue.requests import RequestResult, claim_requests, put_send_requests, record_requests
from gateway.messaging.rules.message import Retry
from tests.factories import COPIES, ORDERS, a_send_request
from tests.inbound_bench import InboundBench, Scripted

WRONG = datetime(2001, 1, 1, tzinfo=UTC)


class SetBack(datetime):
    """A clock of the machine that is years behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return WRONG


@pytest.fixture(autouse=True)
def clock_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (inbound, outbound, requests):
        monkeypatch.setattr(module, "datetime", SetBack, raising=False)


async def test_queue_and_history_have_the_times_of_the_database(store: Store) -> None:
    operation = Scripted()
    operation.errors = {"FAILS": ValueError("a bug"), "WAITS": TransientError("away")}
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation)
        await bench.put(["GOOD", "FAILS", "WAITS"])
        await bench.run()
    answers = await claim_outbound(store, 1, ORDERS, 10)
    assert answers is not None
    sent, failed = answers.items
    await record_outbound(store, answers.fence, SendResult(sent=[sent], failed=[(failed, "no")]))
    times = await bench.rows(
        "SELECT changed_at FROM queue UNION ALL SELECT finished_at FROM message WHERE finished_at IS NOT NULL"
        " UNION ALL SELECT created_at FROM message"
    )
    assert len(times) == 3 + 2 + 5
    assert max(times)[0] - min(times)[0] < timedelta(days=1)


async def test_requests_to_send_have_the_times_of_the_database(store: Store) -> None:
    await put_send_requests(store, [a_send_request("SO-1")])
    claimed = await claim_requests(store, 1, COPIES, 10)
    assert claimed is not None
    async with store.transaction() as connection:
        await record_requests(
            store, connection, claimed.fence, RequestResult(again=[Retry(one, 5.0, "away") for one in claimed.items])
        )
        (row,) = await connection.fetch("SELECT created_at, changed_at FROM send_request")
    assert abs(row["changed_at"] - row["created_at"]) < timedelta(days=1)
