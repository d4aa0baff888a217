"""What the program writes about itself: events with names and fields, for people on a terminal, as JSON elsewhere.

Every event is listed in `docs/events.md`. Documents are never written, secrets are masked, and nothing that
comes from a partner can move the cursor of a terminal.
"""

import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final, TextIO
from urllib.parse import unquote

import structlog

from gateway.config.masks import SHORTEST_SECRET, masking, passwords_of
from gateway.config.models import Level, LogFormat, Logging, Settings
from gateway.runtime.visible import visible, visible_lines

LONGEST_VALUE: Final = 2000
"""Characters of one value that are written; tracebacks are exempt."""

_LEVELS: Final[Mapping[Level, int]] = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
_WHOLE: Final = frozenset({"exception", "stack"})

Event = MutableMapping[str, Any]
log = structlog.get_logger()


def configure_logs(
    settings: Logging, secrets: Iterable[str] = (), *, stream: TextIO | None = None, terminal: bool | None = None
) -> None:
    """Set up logging for this process, to *stream* (default: standard error); again replaces what was set up.

    *secrets* are masked wherever they would appear, in error texts and tracebacks too; see `secrets_of`.
    *terminal* says whether a person reads the stream (default: ask it).
    """
    target = sys.stderr if stream is None else stream
    on_terminal = target.isatty() if terminal is None else terminal
    as_json = settings.format is LogFormat.JSON or (settings.format is LogFormat.AUTO and not on_terminal)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _Guard(secrets, escape=not as_json),
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(target),  # a line at once: workers write to the same stream
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(logging.WARNING)


def secrets_of(settings: Settings) -> Sequence[str]:
    """Return what must never be written: passwords and keys, and the address of the store when it holds one."""
    own = [secret for secret in (settings.mail.password, settings.alerts.webhook.secret) if secret]
    of_store = [] if settings.embedded else list(passwords_of(settings.store))
    for store in settings.data_exchange.stores.values():
        of_store += passwords_of(store.database or "")
    own += passwords_of(settings.alerts.webhook.url or "")
    decoded = [unquote(password) for password in of_store]
    long_enough = {text for text in (*own, *of_store, *decoded) if len(text) >= SHORTEST_SECRET}
    whole = (settings.store,) if passwords_of(settings.store) else ()
    return (*whole, *sorted(long_enough, key=len, reverse=True))


class _Guard:
    """The last look at an event: masks secrets, keeps bodies out, shortens long values."""

    def __init__(self, secrets: Iterable[str], *, escape: bool) -> None:
        self._mask = masking(secrets)
        self._escape = escape

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        for key, value in event.items():
            event[key] = self._checked(value, whole=key in _WHOLE)
        return event

    def _checked(self, value: object, *, whole: bool = False) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case Mapping():
                return {str(key): self._checked(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._checked(item) for item in value]
        text = value if isinstance(value, str) else str(value)
        text = self._mask(text)
        if whole:
            return visible_lines(text) if self._escape else text
        if len(text) > LONGEST_VALUE:
            text = text[: LONGEST_VALUE - 1] + "…"
        return visible(text) if self._escape else text


class _Bridge(logging.Handler):
    """Passes on what libraries say through the logging module of Python."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as an event of ours."""
        name, text = record.name, record.getMessage()
        if record.levelno >= logging.ERROR:
            log.error("library.said", library=name, text=text, exc_info=record.exc_info)
        else:
            log.warning("library.said", library=name, text=text, exc_info=record.exc_info)
