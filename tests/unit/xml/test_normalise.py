import pytest

from gateway.kernel.namespaces import Scheme
from gateway.xml.normalise import is_costly, rewrite_scheme, strip_anchors


@pytest.mark.parametrize(
    ("written", "used"),
    [
        (r"^[0-9]{2}$", r"[0-9]{2}"),
        (r"^A|B$", "A|B"),
        (r"^a$|^b$", "a|b"),
        (r"^[$]$", "[$]"),
        (r"\d+$", r"\d+$"),
        (r"^\d+", r"^\d+"),
        (r"^\d\$", r"^\d\$"),
        (r"[^a]$", r"[^a]$"),
        ("", ""),
    ],
)
def test_only_a_pattern_anchored_at_both_ends_loses_its_anchors(written: str, used: str) -> None:
    assert strip_anchors(written) == used


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "([a-z]+ )*", "(a{1,3}){10}", "((a*)b)+"])
def test_a_repeated_repetition_is_costly(pattern: str) -> None:
    assert is_costly(pattern)


@pytest.mark.parametrize("pattern", ["a+b+", "[(a+)+]", r"(\(a+)", r"(\d*D)?", "[0-9]{8}(-[0-9]{4}){3}", "(a{3}){10}"])
def test_a_plain_pattern_is_not_costly(pattern: str) -> None:
    assert not is_costly(pattern)


def test_namespaces_are_rewritten_and_data_is_not() -> None:
    text = '<a xmlns="http://schemas.microsoft.com/x" b="http://schemas.microsoft.com/y"> xmlns="http://schemas.microsoft.com/z"</a>'

    rewritten = rewrite_scheme(text, Scheme.HTTPS)

    assert rewritten == text.replace('<a xmlns="http:', '<a xmlns="https:')


def test_a_schema_loses_no_namespace_when_it_is_rewritten_there_and_back() -> None:
    text = (
        '<s xmlns:t="http://schemas.microsoft.com/x" targetNamespace="http://schemas.microsoft.com/x">'
        '<any namespace="##local http://schemas.microsoft.com/y urn:z"/></s>'
    )

    https = rewrite_scheme(text, Scheme.HTTPS, schema=True)

    assert https.count("https://") == 3
    assert rewrite_scheme(https, Scheme.HTTP, schema=True) == text
