"""The runnable `http`: one call of a web service."""

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.batch.alerts.channels.outside import unreachable_address
from gateway.config.addresses import web_address
from gateway.config.models_base import AnyText, ByteSize, Count, Flag, Options, Seconds, Text, reread
from gateway.contracts.task import Runnable, TaskContext
from gateway.kernel.errors import TaskFailed, TransientError

_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN_CHARACTERS: Final = 500


def _method(value: str) -> str:
    if not value.isalpha():
        raise ValueError("must be a method such as GET or POST")
    return value.upper()


def _statuses(value: object) -> object:
    value = reread(value)
    return [value] if isinstance(value, int) else value


Status = Annotated[Count, Field(ge=100, le=599)]


class HttpParameters(Options):
    """What to call, and which answers are good."""

    url: Annotated[Text, AfterValidator(web_address)] = Field(description="Address, http:// or https://.")
    method: Annotated[Text, AfterValidator(_method)] = Field(default="POST", description="Method.")
    headers: Mapping[Text, AnyText] = Field(default_factory=dict, description="Headers; secrets come from ${…}.")
    body: AnyText | None = Field(default=None, description="Body as text.")
    json_body: object = Field(default=None, alias="json", description="Body as JSON.")
    expect: Annotated[tuple[Status, ...], BeforeValidator(_statuses)] = Field(
        default=(200, 201, 202, 204), min_length=1, description="Statuses that mean success."
    )
    timeout_seconds: Seconds = Field(default=60.0, gt=0, le=3600, description="Longest wait for the answer.")
    idempotency_header: Text | None = Field(
        default="Idempotency-Key", description="Header for the idempotency key; null: none is sent."
    )
    keep: Text | None = Field(default=None, description="Name under which the answer is kept as a file of the run.")
    most_bytes: ByteSize = Field(default=10_000_000, ge=0, le=60_000_000, description="Most bytes of the answer.")
    verify: Flag = Field(default=True, description="false: certificates are not checked.")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.json_body is not None:
            raise ValueError("has both body and json; a request has one body")
        return self


class HttpTask:
    """One call (`gateway.contracts.task.TaskHandler`).

    The idempotency key is the same in every attempt of the run, so that a service that honours it does the work once.
    Redirections are not followed: they could carry secrets to another host.
    """

    def __init__(self, parameters: HttpParameters) -> None:
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Call and judge the answer.

        Raises: TransientError when the service does not answer or says that trying again may help; TaskFailed for
        every other status that is not expected.
        """
        wanted = self._parameters
        place = shown(wanted.url)
        began = asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout(wanted.timeout_seconds),
                httpx.AsyncClient(
                    verify=wanted.verify, timeout=wanted.timeout_seconds, follow_redirects=False, trust_env=False
                ) as client,
                client.stream(
                    wanted.method, wanted.url, headers=self._headers(context), content=self._content()
                ) as answer,
            ):
                content = await _read(answer, wanted.most_bytes)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise TransientError(
                f"{place} did not answer within {wanted.timeout_seconds:g} seconds.", code="http.timeout"
            ) from error
        except httpx.TransportError as error:
            raise TransientError(f"{place} cannot be reached: {_said(error)}.", code="http.unreachable") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TaskFailed(f"{place} cannot be called: {_said(error)}.", code="http.call") from error
        duration = asyncio.get_running_loop().time() - began
        context.log.info(
            f"{wanted.method} {place}: {answer.status_code} {answer.reason_phrase}, {len(content):,} bytes, "
            f"{duration:.2f} s"
        )
        if wanted.keep is not None:
            await context.keep_file(wanted.keep, content)
        self._judge(answer.status_code, content, place, context)

    def _headers(self, context: TaskContext) -> dict[str, str]:
        wanted = self._parameters
        headers = {"User-Agent": "gateway", **wanted.headers}
        if wanted.json_body is not None:
            headers.setdefault("Content-Type", "application/json")
        if wanted.idempotency_header is not None:
            headers.setdefault(wanted.idempotency_header, context.idempotency_key())
        return headers

    def _content(self) -> bytes | None:
        wanted = self._parameters
        if wanted.json_body is not None:
            return json.dumps(wanted.json_body, ensure_ascii=False).encode()
        return None if wanted.body is None else wanted.body.encode()

    def _judge(self, status: int, content: bytes, place: str, context: TaskContext) -> None:
        if status in self._parameters.expect:
            return
        said = context.mask(content.decode(errors="replace"))[:_SHOWN_CHARACTERS].strip()
        if said:
            context.log.error(f"It answered: {said}")
        if status in _TRANSIENT:
            raise TransientError(f"{place} answered {status}: it may work later.", code="http.status")
        wanted = ", ".join(map(str, self._parameters.expect))
        raise TaskFailed(f"{place} answered {status}; success is {wanted}.", code="http.status")


async def _read(answer: httpx.Response, most_bytes: int) -> bytes:
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > most_bytes:
            raise TaskFailed(f"The answer has more than {most_bytes:,} bytes.", code="http.size")
    return bytes(content)


def shown(url: str) -> str:
    """Return an address as it may be shown: without user, password and query."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def http_runnable() -> Runnable:
    """Describe it."""
    return Runnable(
        name="http", description="calls a web service", parameters=HttpParameters, make=_make, retryable=True,
        examine=_examine,
    )  # fmt: skip


async def _examine(parameters: HttpParameters) -> list[str]:
    wrong = await unreachable_address(parameters.url)
    return [] if wrong is None else [wrong]


def _make(parameters: Any) -> HttpTask:
    return HttpTask(parameters)
