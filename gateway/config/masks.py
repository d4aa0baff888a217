"""Takes out of a text what must not be written: what came into the parameters of a task from outside."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

from gateway.contracts.task import Mask, unmasked

MASK: Final = "***"
_SAFE_BASE64: Final = str.maketrans("+/", "-_")
SHORTEST_SECRET: Final = 4
"""Characters; shorter ones stand in every text by chance."""


def masking(secrets: Iterable[str]) -> Mask:
    """Return a function that writes `***` for each secret, also for one as Python, JSON, an address or base64 write it.

    Rule: of a secret of several lines every line is one; of an address with a password the password too.
    """
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST_SECRET}
    if not forms:
        return unmasked
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub(MASK, text)


def without_passwords(value: object) -> object:
    """Return parameters of a task as they may be shown: of every address in them, `***` for the password."""
    match value:
        case str():
            return masking(passwords_of(value))(value)
        case Mapping():
            return {key: without_passwords(below) for key, below in value.items()}
        case list() | tuple():
            return [without_passwords(below) for below in value]
    return value


def passwords_in(value: object) -> Iterator[str]:
    """Yield the passwords of all addresses in the parameters of a task, wherever they stand."""
    match value:
        case str():
            yield from passwords_of(value)
        case Mapping():
            for below in value.values():
                yield from passwords_in(below)
        case Sequence() if not isinstance(value, bytes):
            for below in value:
                yield from passwords_in(below)


def passwords_of(url: str) -> Sequence[str]:
    """Return the passwords in an address as they are written there; none of a text that is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    if "://" not in url:
        return ()
    options = (option.partition("=") for option in parts.query.split("&"))
    found = [parts.password or ""]
    found += [value for name, _, value in options if unquote(name).lower() in {"password", "sslpassword"}]
    return [password for password in found if password]


def _forms(secret: str) -> Iterator[str]:
    for plain in {secret, *secret.splitlines(), *passwords_of(secret), *map(unquote, passwords_of(secret)),
                  *_in_basic(secret)}:  # fmt: skip
        bare = plain.strip()
        yield from (bare, repr(bare)[1:-1], ascii(bare)[1:-1])
        yield from (json.dumps(bare)[1:-1], json.dumps(bare, ensure_ascii=False)[1:-1])
        yield from (quote(bare, safe=""), quote(bare), quote_plus(bare))
        if len(bare) >= SHORTEST_SECRET:
            yield from _in_base64(bare.encode("utf-8", "surrogateescape"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what each base64 text has that has the secret in it: three beginnings, by how many bytes stand before.

    An `Authorization` of the kind Basic is base64 of user and password.
    """
    for before in range(3):
        text = b64encode(b"\0" * before + secret).decode()
        inner = text[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        yield from {inner, inner.translate(_SAFE_BASE64)}


def _in_basic(secret: str) -> Iterator[str]:
    """Yield the password when *secret* is user and password in base64, alone or after `Basic`."""
    encoded = secret.rpartition(" ")[2]
    try:
        plain = b64decode(encoded, validate=True).decode()
    except ValueError:
        return
    user, colon, password = plain.partition(":")
    if colon and user.isprintable() and password.isprintable():
        yield from (encoded, password)
