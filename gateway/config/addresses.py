"""Addresses that may hold a password: taken apart once, and refused without a word of them in the text."""

import re
from urllib.parse import urlsplit

_ENCODE = (
    "percent-encode special characters in user and password (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, "
    "[ is %5B, % is %25); no part of it is shown here, because it may hold a password"
)
_HOSTS = re.compile(r"(?:^|,)(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:,]*)(?::(?P<port>[0-9]{1,5}))?(?=,|$)")


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
