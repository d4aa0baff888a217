"""The documented XML namespaces, in every form that partners write.

Rule: each `http://` namespace is also accepted as `https://`; answers use the form of the request.
Source: rulings, "Namespaces"; AIF reference, section 4.
"""

from enum import StrEnum
from functools import lru_cache

HTTP = "http://"
HTTPS = "https://"
MICROSOFT = "schemas.microsoft.com/dynamics/"

MESSAGE_2011 = "http://schemas.microsoft.com/dynamics/2011/01/documents/Message"
MESSAGE_2008 = "http://schemas.microsoft.com/dynamics/2008/01/documents/Message"
BATCH = "http://schemas.microsoft.com/dynamics/2009/06/documents/Batch"
BATCH_WITH_BLANK = "http://schemas.microsoft.com/Microsoft Dynamics/2009/06/documents/Batch"
ENTITY_KEY_LIST = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList"
ENTITY_KEY = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey"
QUERY_CRITERIA = "http://schemas.microsoft.com/dynamics/2006/02/documents/QueryCriteria"
FAULT = "http://schemas.microsoft.com/dynamics/2008/01/documents/Fault"
SERVICES = "http://schemas.microsoft.com/dynamics/2008/01/services"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

ENVELOPE_NAMESPACES = (MESSAGE_2011, MESSAGE_2008)
BATCH_NAMESPACES = (BATCH, BATCH_WITH_BLANK)


class Scheme(StrEnum):
    """Which form of the documented namespaces a file uses."""

    HTTP = "http"
    HTTPS = "https"


def kept_of(namespace: str) -> str | None:
    """Return what is stored of the namespace of an envelope: nothing of that of 2011, which nearly all have."""
    return None if namespace == MESSAGE_2011 else namespace


def scheme_of(namespace: str) -> Scheme:
    """Return the form a namespace is written in; anything but https counts as http."""
    return Scheme.HTTPS if namespace.startswith(HTTPS) else Scheme.HTTP


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """Return a namespace, action or `{namespace}local` name with a documented namespace in its `http://` form.

    Names outside the documented host are returned unchanged.
    """
    brace, rest = ("{", name[1:]) if name.startswith("{") else ("", name)
    if rest.startswith(HTTPS + "schemas.microsoft.com/"):
        return brace + HTTP + rest[len(HTTPS) :]
    return name


@lru_cache(maxsize=4096)
def in_scheme(name: str, scheme: Scheme) -> str:
    """Return a canonical name in the form that *scheme* asks for; other hosts stay as they are."""
    brace, rest = ("{", name[1:]) if name.startswith("{") else ("", name)
    if scheme is Scheme.HTTPS and rest.startswith(HTTP + "schemas.microsoft.com/"):
        return brace + HTTPS + rest[len(HTTP) :]
    return name
