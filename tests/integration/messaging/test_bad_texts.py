"""What code says may hold characters that neither the store nor XML can: that must not fail the record of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, OperationRejected, TransientError
from gateway.kernel.problem import Problem
from tests.inbound_bench import InboundBench, Scripted

BAD = "a\x00b\ud800c\ufffe"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(BAD), "error"),
        (TransientError(BAD), "ready"),
        (ConnectionError(BAD), "ready"),
        (GatewayError(BAD, code=BAD), "error"),
        (OperationRejected(BAD, code=BAD, problems=[Problem(code=BAD, text=BAD, path=BAD, found=BAD)]), "error"),
    ],
    ids=["bug", "passing", "connection", "ours", "rejected"],
)
async def test_bad_text_fails_its_message_and_no_other(store: Store, error: Exception, status: str) -> None:
    operation = Scripted()
    operation.errors["bad"] = error
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation, respond={"folder": "/srv/out", "details": True})
        await bench.put(["bad", "good"])
        await bench.run()
    assert operation.calls == ["bad", "good"]
    assert await bench.rows("SELECT status FROM queue WHERE direction = 'in'") == [(status,)]
    assert await bench.rows("SELECT outcome FROM message WHERE direction = 'in' ORDER BY id") == [
        (None,),
        ("processed",),
    ]
