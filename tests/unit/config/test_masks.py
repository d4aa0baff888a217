"""What must not be written is taken out of texts in every form in which it may stand there."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from gateway.config.masks import masking, passwords_in, passwords_of, without_passwords
from gateway.contracts.task import unmasked

SECRET = "p'ä\"ss \\w/ö:rd&1"


@pytest.mark.parametrize(
    "written",
    [
        SECRET, repr(SECRET), ascii(SECRET), json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False)[1:-1],
        quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET),
    ],
    ids=["plain", "repr", "ascii", "json", "json-unicode", "path", "address", "form"],
)  # fmt: skip
def test_a_secret_is_known_however_it_is_written(written: str) -> None:
    shown = masking([SECRET])(f"before {written} after")
    assert "rd" not in shown and "***" in shown
    assert shown.startswith("before ") and shown.endswith(" after")


def test_every_line_of_a_secret_is_one() -> None:
    mask = masking(["-----BEGIN KEY-----\nMIIEvQIBADANBg\nab\n-----END KEY-----\n"])
    assert mask("it said MIIEvQIBADANBg, abcd") == "it said ***, abcd"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert masking(["hunter2", "hunter2-hunter3"])("hunter2-hunter3 hunter2") == "*** ***"


def test_nothing_secret_or_too_short_masks_nothing() -> None:
    assert masking([]) is unmasked and masking(["", "abc"])("abc") == "abc"


def test_the_password_of_an_address_is_one_by_itself() -> None:
    mask = masking(["postgresql://ann:s%40cret@db/x"])
    assert mask("s@cret s%40cret postgresql://ann:s%40cret@db/x") == "*** *** ***"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://ann:secret@db/x?sslpassword=other&a=b", ["secret", "other"]),
        ("postgresql:///x?password=secret", ["secret"]),
        ("https://example.com/x", []),
        ("http://[", []),
        ("SELECT 1 -- a:b@c", []),
    ],
)
def test_passwords_of_addresses(url: str, found: list[str]) -> None:
    assert list(passwords_of(url)) == found
    assert list(passwords_in({"url": [url, 3, None]})) == found


@pytest.mark.parametrize("user", ["a", "an", "ann", "anna", ""])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_secret_is_known_in_basic_credentials_of_any_user(user: str, encode: Callable[[bytes], bytes]) -> None:
    for secret in ("hunter2", "hünter2??>>", "hunt"):
        said = encode(f"{user}:{secret}".encode()).decode()
        left = masking([secret])(f"Authorization: Basic {said}, or {said.rstrip('=')}")
        assert left.startswith("Authorization: Basic ")
        rest = left.removeprefix("Authorization: Basic ").partition(",")[0]
        assert "***" in rest
        assert len(rest.replace("***", "")) <= len(b64encode(f"{user}:".encode())) + 4


def test_credentials_that_come_encoded_are_known_decoded() -> None:
    encoded = b64encode(b"ann:hunter2").decode()
    for secret in (encoded, f"Basic {encoded}"):
        assert masking([secret])(f"ann, hunter2, {encoded}") == "ann, ***, ***"


def test_parameters_are_shown_without_the_passwords_of_their_addresses() -> None:
    parameters = {"url": "postgresql://ann:secret@db/x", "values": {"urls": ["https://a:secret@b/", "secret", 7]}}
    assert without_passwords(parameters) == {
        "url": "postgresql://ann:***@db/x", "values": {"urls": ["https://a:***@b/", "secret", 7]},
    }  # fmt: skip
