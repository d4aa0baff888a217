"""Addresses that may hold a password: taken apart once, and refused without a word of them in the text."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.config.environment import REFERENCE

EMBEDDED: Final = "embedded"
_URL = re.compile(r"(?i:postgres(?:ql)?)://(?:[^/?#]|/?[^/?#]*\?.)")
_URL_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/?#@]*):.*@|(?P<option>[?&](?:ssl)?password=)[^&]*", re.IGNORECASE)
_ENCODE = (
    "percent-encode special characters in user and password (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, "
    "[ is %5B, % is %25); no part of it is shown here, because it may hold a password"
)
_OUTSIDE = "\0"
_PASSWORD_OPTION = re.compile(r"(?:ssl)?password", re.IGNORECASE)
_HOSTS = re.compile(r"(?:^|,)(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:,]*)(?::(?P<port>[0-9]{1,5}))?(?=,|$)")


def store_address(value: str) -> str:
    """Return *value* when it is `embedded` or the address of a PostgreSQL. Raises: ValueError."""
    if value == EMBEDDED:
        return value
    if _URL.match(value) is None:
        raise ValueError("must be embedded, or a URL such as postgresql://user:${PASSWORD}@host/database")
    return database_address(value)


def database_address(value: str) -> str:
    """Return *value* when it is postgresql:// and can be taken apart in one way only. Raises: ValueError."""
    scheme, _, rest = value.partition("://")
    if scheme.lower() not in {"postgresql", "postgres"} or not rest:
        raise ValueError("must be an address such as postgresql://user:${PASSWORD}@host/database")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    path, _, options = after.partition("?")
    user, _, hosts = authority.rpartition("@")
    matches = list(_HOSTS.finditer(hosts))
    whole = "".join(match[0] for match in matches) == hosts
    torn = (
        "#" in rest
        or any(mark in user for mark in "@[]")
        or "@" in path
        or (bool(authority) and "@" not in authority and "@" in after)
        or any("=" not in option for option in options.split("&") if options)
    )
    if torn or not whole or any(int(match["port"] or 1) not in range(1, 65_536) for match in matches):
        raise ValueError(f"the address cannot be taken apart: {_ENCODE}")
    return value


def web_address(value: str) -> str:
    """Return *value* when it is http:// or https:// with a host. Raises: ValueError."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        whole = parts.port != 0
    except ValueError:  # its text would show a part of what may be the password
        good, whole = True, False
    if not good:
        raise ValueError("must be an address such as https://example.com/path")
    if not whole:
        raise ValueError(f"the address cannot be taken apart: {_ENCODE}")
    return value


def without_password(url: str) -> str:
    """Return the address of a database as it may be shown to people."""
    return _URL_PASSWORD.sub(
        lambda match: f"{match['option'] or match['user'] + ':'}***{'' if match['option'] else '@'}", url
    )


def literal_password(url: str) -> bool:
    """Return whether a database URL, as written, holds a password that is not wholly a reference.

    Rule: the default in `${NAME:-default}` stands in the file, so it counts as written.
    """
    written = REFERENCE.sub(_default, url)
    _, scheme_end, rest = written.partition("://")
    if not scheme_end:
        return False
    user, at, _ = rest.rpartition("@")
    passwords = [user.partition(":")[2]] if at else []
    for option in rest.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if _PASSWORD_OPTION.fullmatch(unquote(name)):
            passwords.append(value)
    return any(password.replace(_OUTSIDE, "") for password in passwords)


def _default(reference: re.Match[str]) -> str:
    if reference[1].startswith("file:"):
        return _OUTSIDE
    return reference[1].partition(":-")[2] or _OUTSIDE
