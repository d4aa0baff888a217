"""What the log says, and what it never says."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway.config.load import parse
from gateway.config.models import Level, LogFormat, Logging, Settings
from gateway.runtime.logs import LONGEST_VALUE, configure_logs, secrets_of
from gateway.runtime.visible import visible, visible_lines


class Written(io.StringIO):
    """Catches what is written; `events` reads JSON lines."""

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield Written()
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def settings_with(store: str) -> Settings:
    return parse(b"store: ${DB}", file="c", base=Path("/"), environ={"DB": store})


def test_events_are_json_in_ascii_without_a_terminal(written: Written) -> None:
    configure_logs(Logging(), stream=written)
    structlog.get_logger().info("file.received", file="Grüße\x1b.xml", size_bytes=3)
    assert written.getvalue().isascii()
    (event,) = written.events()
    assert (event["event"], event["level"], event["file"], event["size_bytes"]) == (
        "file.received", "info", "Grüße\x1b.xml", 3,
    )  # fmt: skip
    assert str(event["timestamp"]).endswith("Z")


def test_events_are_lines_without_control_characters_on_a_terminal(written: Written) -> None:
    configure_logs(Logging(), stream=written, terminal=True)
    structlog.get_logger().info("file.received", file="a\x1b[2J\u202eb.xml")
    assert "a\\x1b[2J\\u202eb.xml" in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()


def test_format_can_be_chosen(written: Written) -> None:
    configure_logs(Logging(format=LogFormat.JSON), stream=written, terminal=True)
    structlog.get_logger().info("gateway.started")
    assert written.events()[0]["event"] == "gateway.started"


def test_lower_levels_are_left_out(written: Written) -> None:
    configure_logs(Logging(level=Level.WARNING), stream=written)
    log = structlog.get_logger()
    log.debug("a.b")
    log.info("a.b")
    log.warning("a.b")
    log.error("a.b")
    assert [event["level"] for event in written.events()] == ["warning", "error"]


def test_bound_context_is_written_with_each_event(written: Written) -> None:
    configure_logs(Logging(), stream=written)
    with structlog.contextvars.bound_contextvars(port="orders"):
        structlog.get_logger().info("port.opened")
    structlog.get_logger().info("port.opened")
    assert [event.get("port") for event in written.events()] == ["orders", None]


def test_bodies_are_never_written(written: Written) -> None:
    configure_logs(Logging(), stream=written)
    structlog.get_logger().info("a.b", content=b"<Envelope/>", text="x" * (LONGEST_VALUE + 1))
    (event,) = written.events()
    assert event["content"] == "<11 bytes>"
    assert len(str(event["text"])) == LONGEST_VALUE


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://gw:s3cr%40t!x@db/gateway",
        "postgresql://gw@db/gateway?password=s3cr%40t!x",
        "postgresql://db/gateway?user=gw&sslpassword=s3cr%40t!x",
    ],
)
def test_password_of_the_store_never_appears(written: Written, store: str) -> None:
    configure_logs(Logging(), secrets_of(settings_with(store)), stream=written)
    log = structlog.get_logger()
    log.info("a.b", store=store, nested={"values": [store, "s3cr@t!x"]}, plain="password s3cr%40t!x")
    try:
        raise ValueError(f"cannot reach {store} with s3cr@t!x")
    except ValueError:
        log.exception("run.failed")
    assert "s3cr" not in written.getvalue()
    assert "ValueError" in written.getvalue()


def test_store_without_password_has_no_secrets() -> None:
    assert secrets_of(settings_with("embedded")) == ()
    assert secrets_of(settings_with("postgresql://db/gateway")) == ()


def test_what_libraries_say_becomes_an_event(written: Written) -> None:
    configure_logs(Logging(), stream=written)
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("httpx").info("nothing worth knowing")
    (event,) = written.events()
    assert (event["event"], event["library"]) == ("library.said", "asyncio")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 漢字", "plain äöü 漢字"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x00\x1b\x7f\x9b", "\\x00\\x1b\\x7f\\x9b"),
        ("\u202e\u2066\ufeff", "\\u202e\\u2066\\ufeff"),
        ("\U000e0001", "\\U000e0001"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_invisible_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_line_breaks_of_a_document_stay() -> None:
    assert visible_lines("<a>\r\n\t<b>\x1b</b>\n</a>") == "<a>\n\t<b>\\x1b</b>\n</a>"
