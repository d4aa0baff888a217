"""A system outside the database, and the service that calls it; its address is the customer's order number."""

import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.kernel.errors import OperationRejected


@dataclass(frozen=True)
class Call:
    """One call that arrived, whether or not its caller lived to see the answer."""

    what: str
    message_id: str
    key: str


@dataclass
class Outside:
    """An HTTP server on the loopback that remembers every call."""

    calls: list[Call] = field(default_factory=list)
    is_closed: bool = False
    """Closed, it takes no bookings, but hears of them."""
    answers: threading.Event = field(default_factory=threading.Event)
    """While it is not set, it hears calls and answers none."""

    def __enter__(self) -> Self:
        outside = self
        self.answers.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                what = self.path.strip("/")
                outside.calls.append(Call(what, self.headers["Message-Id"], self.headers["Idempotency-Key"]))
                outside.answers.wait(60)
                self.send_response(409 if outside.is_closed and what == "book" else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def keys(self, what: str) -> dict[str, set[str]]:
        """Return the keys of the calls, by the message they were made for."""
        keys: dict[str, set[str]] = {}
        for call in list(self.calls):
            if call.what == what:
                keys.setdefault(call.message_id, set()).add(call.key)
        return keys


def _post(what: str, request: Request) -> int:
    connection = HTTPConnection("127.0.0.1", int(request.parts[0].findtext(".//{*}PurchOrderFormNum") or 0), timeout=20)
    headers = {"Message-Id": str(request.message_id), "Idempotency-Key": request.idempotency_key}
    connection.request("POST", f"/{what}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def book(request: Request, _: ServiceContext) -> Reply:
    """Do something elsewhere; requests of a customer called `bad` are refused after it was done."""
    if _post("book", request) == 409:
        raise OperationRejected("it is closed")
    if request.parts[0].findtext(".//{*}CustAccount") == "bad":
        raise OperationRejected("this customer pays nothing")
    return Reply()


def cancel(request: Request, _: ServiceContext) -> None:
    """Take it back."""
    _post("cancel", request)
