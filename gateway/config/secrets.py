"""Find passwords that stand in the configuration file itself."""

import re
from urllib.parse import unquote

from gateway.config.environment import REFERENCE

_OUTSIDE = "\0"
_PASSWORD_OPTION = re.compile(r"(?:ssl)?password", re.IGNORECASE)


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
