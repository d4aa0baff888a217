"""Calls of a web service: what is sent, which answers are good, which are worth another try."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.batch.handlers.http import HttpParameters, HttpTask
from gateway.kernel.errors import TaskFailed, TransientError
from tests.stub import web_service
from tests.task_contexts import Occasion


async def call(url: str, occasion: Occasion | None = None, **options: Any) -> Occasion:
    occasion = occasion or Occasion()
    await HttpTask(HttpParameters.model_validate({"url": url, **options})).run(occasion.context)
    return occasion


async def test_method_headers_and_body_are_sent_as_written() -> None:
    async with web_service() as service:
        await call(f"{service.url}/a?b=c", method="put", headers={"X-Key": "k"}, json={"day": "Ö"})
    (asked,) = service.asked
    assert (asked.method, asked.path, asked.headers["x-key"]) == ("PUT", "/a?b=c", "k")
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {"day": "Ö"}


async def test_every_attempt_sends_the_same_idempotency_key() -> None:
    async with web_service() as service:
        for attempt in (1, 2):
            await call(service.url, Occasion(attempt=attempt), body="x")
    assert [asked.headers["idempotency-key"] for asked in service.asked] == ["nightly/17/170"] * 2


async def test_the_idempotency_key_can_be_left_out() -> None:
    async with web_service() as service:
        await call(service.url, idempotency_header=None)
    assert "idempotency-key" not in service.asked[0].headers


async def test_the_answer_is_told_and_can_be_kept() -> None:
    async with web_service(lambda _: (201, b'{"id": 5}')) as service:
        occasion = await call(f"{service.url}/orders?token=abc", keep="answer.json")
    assert occasion.files == {"answer.json": b'{"id": 5}'}
    assert occasion.log.texts[0].startswith(f"POST {service.url}/orders: 201 Said, 9 bytes"), "and not its query"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_status_that_may_pass_is_worth_another_try(status: int) -> None:
    async with web_service(lambda _: (status, b"later")) as service:
        with pytest.raises(TransientError, match=f"answered {status}"):
            await call(service.url)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 501])
async def test_another_status_is_a_failure_with_what_was_said(status: int) -> None:
    occasion = Occasion()
    async with web_service(lambda _: (status, b"no such order")) as service:
        with pytest.raises(TaskFailed, match=f"answered {status}"):
            await call(service.url, occasion)
    assert occasion.log.lines[-1] == ("error", "It answered: no such order")
    assert len(service.asked) == 1, "redirections are not followed"


async def test_expected_statuses_can_be_chosen() -> None:
    async with web_service(lambda _: (404, b"")) as service:
        await call(service.url, expect=404)


async def test_nobody_there_is_worth_another_try() -> None:
    async with web_service() as service:
        pass
    with pytest.raises(TransientError, match="cannot be reached") as failed:
        await call(f"{service.url}/a?token=abc")
    assert "abc" not in str(failed.value)


async def test_a_connection_that_breaks_is_worth_another_try() -> None:
    async with web_service(lambda _: None) as service:
        with pytest.raises(TransientError, match="cannot be reached"):
            await call(service.url)


async def test_no_answer_in_time_is_worth_another_try() -> None:
    async with web_service() as service:
        service.hold = True
        with pytest.raises(TransientError, match=r"within 1 seconds"):
            await call(service.url, timeout_seconds=1.0)
    assert len(service.asked) <= 1, "one try; a machine that is busy may not even get as far as to ask"


async def test_an_answer_that_is_too_large_is_a_failure() -> None:
    async with web_service(lambda _: (200, b"x" * 2000)) as service:
        with pytest.raises(TaskFailed, match="more than 1,000 bytes"):
            await call(service.url, most_bytes=1000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "http://x", "method": "GET /"},
        {"url": "http://x", "body": "a", "json": 1},
        {"url": "http://x", "expect": 99},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpParameters.model_validate(wrong)
