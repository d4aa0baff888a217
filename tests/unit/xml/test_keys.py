import pytest
from lxml import etree

from gateway.contracts.service import EntityKey
from gateway.kernel.errors import MalformedMessage
from gateway.xml.keys import build_keys, read_keys

LIST = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList"
KEY = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey"
FIELD = "<KeyField><Field>{}</Field><Value>{}</Value></KeyField>"


def key_list(content: str) -> etree._Element:
    return etree.fromstring(f'<EntityKeyList xmlns="{LIST}">{content}</EntityKeyList>')


def key(content: str, namespace: str = KEY) -> str:
    return f'<EntityKey xmlns="{namespace}"><KeyData>{content}</KeyData></EntityKey>'


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ((("SalesId", "SO-1"),),),
        ((("SalesId", "SO-1"),), (("SalesId", "SO-2"),)),
        ((("DataAreaId", "dat"), ("SalesId", "<&> \u4e2d")),),
    ],
)
def test_built_keys_are_read_back(keys: tuple[EntityKey, ...]) -> None:
    assert read_keys(build_keys(keys)) == keys


@pytest.mark.parametrize("namespace", [KEY, KEY.replace("http:", "https:")])
def test_both_forms_are_read_also_mixed(namespace: str) -> None:
    assert read_keys(key_list(key(FIELD.format("A", "1"), namespace))) == ((("A", "1"),),)


def test_white_space_around_fields_and_values_is_trimmed_when_reading() -> None:
    part = key_list(key(FIELD.format("\n A ", " 1\n")))

    assert read_keys(part) == ((("A", "1"),),)


def test_comments_between_keys_do_not_matter() -> None:
    assert read_keys(key_list(f"<!-- a -->{key('<!-- b -->' + FIELD.format('A', '1'))}")) == ((("A", "1"),),)


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ("<EntityKey/>", "/EntityKeyList/EntityKey"),
        (key(""), "/EntityKeyList/EntityKey[1]"),
        (key("<KeyField><Field>A</Field></KeyField>"), "/EntityKeyList/EntityKey[1]/KeyData[1]/KeyField[1]"),
        (key("<KeyField><Value>A</Value><Field>A</Field></KeyField>"), None),
        (key("<Other/>"), "/EntityKeyList/EntityKey[1]/KeyData[1]/Other"),
    ],
)
def test_what_is_no_key_is_refused_with_its_path(content: str, path: str | None) -> None:
    with pytest.raises(MalformedMessage) as refused:
        read_keys(key_list(content))

    (problem,) = refused.value.problems
    assert problem.code == "key.malformed"
    assert path is None or problem.path == path


def test_another_document_is_no_key_list() -> None:
    with pytest.raises(MalformedMessage):
        read_keys(etree.Element("{urn:a}EntityKeyList"))
