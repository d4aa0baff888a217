"""The frame of an envelope: its header values and what can be wrong around the documents."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.kernel.errors import MalformedMessage
from gateway.kernel.problem import MAX_PROBLEMS
from gateway.messaging.rules.envelope import Header
from gateway.xml.header import Names, read_frame
from gateway.xml.limits import ReadRules
from gateway.xml.parse import parse_checked
from gateway.xml.usual_header import FIELDS, UsualFrames
from tests.hostile import ACTION, CREATE, MESSAGE, MESSAGE_2008, batch, envelope, order, parts
from tests.unit.xml.reading import read

GUID = "{722B196B-4ACB-4048-8ED3-36915A7DD269}"


def _problems(text: str, *, strict: bool = False) -> list[tuple[str, str]]:
    only = read(text, ReadRules(strict_header=strict)).envelopes[0]
    return [(problem.code, problem.text) for problem in only.header_problems]


def test_every_field_is_read_in_any_order_and_trimmed() -> None:
    header = (
        f"\n<PartitionKey> p </PartitionKey>{ACTION}<Company>\tceu\n</Company>"
        f"<ConversationId>c</ConversationId><LogonAsUser>a\\b</LogonAsUser>"
        f"<RequestMessageId>r</RequestMessageId><MessageId> {GUID.lower()} </MessageId>"
    )
    assert read(envelope(header=header)).envelopes[0].header == Header(
        message_id=GUID.lower(),
        logon_as_user="a\\b",
        company="ceu",
        action=CREATE,
        conversation_id="c",
        request_message_id="r",
        partition_key="p",
    )


def test_characters_in_references_and_cdata_are_values_like_others() -> None:
    header = f"<Company>a&amp;&#233;<![CDATA[<b>]]></Company><!-- x -->{ACTION}"
    assert read(envelope(header=header)).envelopes[0].header.company == "a&é<b>"


def test_mixed_prefixes_in_one_header_are_fine() -> None:
    text = (
        f'<a:Envelope xmlns:a="{MESSAGE}" xmlns:b="{MESSAGE}"><b:Header><a:Company>x</a:Company>'
        f'<Action xmlns="{MESSAGE}">{CREATE}</Action></b:Header>'
        f'<a:Body><MessageParts xmlns="{MESSAGE}">{order()}</MessageParts></a:Body></a:Envelope>'
    )
    only = read(text).envelopes[0]
    assert (only.header.company, only.header.action, only.header_problems) == ("x", CREATE, ())
    assert [part.rpartition("}")[2] for part in only.parts] == ["SalesOrder"]


@pytest.mark.parametrize("namespace", [MESSAGE, MESSAGE.replace("http:", "https:"), MESSAGE_2008])
def test_every_generation_of_the_envelope_is_taken(namespace: str) -> None:
    only = read(envelope(namespace=namespace)).envelopes[0]
    assert (only.namespace, only.header.action, only.header_problems) == (namespace, CREATE, ())


def test_nil_and_schema_hints_are_ignored() -> None:
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    header = f'<ConversationId {xsi} xsi:nil="true"/>{ACTION}'
    only = read(envelope(header=header, attributes=f' {xsi} xsi:schemaLocation="a b"')).envelopes[0]
    assert (only.header.conversation_id, only.header_problems) == (None, ())


def test_unknown_element_is_named_with_what_is_allowed() -> None:
    ((code, text),) = _problems(envelope(header=f"{ACTION}<Colour>red</Colour>"))
    assert (code, text) == ("header.unknown", "Colour is not an element of Header.")


def test_element_without_namespace_is_told_as_such() -> None:
    ((code, text),) = _problems(envelope(header=f'{ACTION}<Company xmlns="">x</Company>'))
    assert code == "header.unknown"
    assert 'Company in Header has no namespace (xmlns="")' in text


def test_element_of_another_generation_names_both_namespaces() -> None:
    body = f'<Body><MessageParts xmlns="{MESSAGE_2008}">{order()}</MessageParts></Body>'
    ((code, text),) = _problems(envelope(body=body))
    assert code == "envelope.structure"
    assert MESSAGE in text and MESSAGE_2008 in text


def test_two_actions_leave_no_action() -> None:
    only = read(envelope(header=ACTION + "<Action>x</Action>")).envelopes[0]
    assert only.header.action is None
    assert [problem.code for problem in only.header_problems] == ["action.missing"]


def test_bad_message_id_is_kept_as_sent_and_cut() -> None:
    only = read(envelope(header=f"<MessageId>{'x' * 300}</MessageId>{ACTION}")).envelopes[0]
    assert only.header.message_id == "x" * 200
    (problem,) = only.header_problems
    assert (problem.code, problem.path) == ("messageid.invalid", "/Envelope/Header/MessageId")
    assert problem.found is not None and len(problem.found) == 200


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (f"<Header>x{ACTION}</Header>{parts()}", "/Envelope/Header"),
        (f"<Header>{ACTION}</Header>x{parts()}", "/Envelope"),
        (f"<Header>{ACTION}</Header>{parts()}x", "/Envelope"),
        (f"<Header>{ACTION}</Header><Body>x<MessageParts>{order()}</MessageParts></Body>", "/Envelope/Body"),
        (f"<Header>{ACTION}</Header><Body><MessageParts>{order()}</MessageParts>x</Body>", "/Envelope/Body"),
        (f"<Header>{ACTION}</Header>{parts('x' + order())}", "/Envelope/Body/MessageParts"),
        (f"<Header>{ACTION}</Header>{parts(order() + 'x')}", "/Envelope/Body/MessageParts"),
        (f"<Header>{ACTION}</Header>{parts(order() + 'x' + order())}", "/Envelope/Body/MessageParts"),
    ],
)
def test_stray_text_is_told_with_its_parent(content: str, path: str) -> None:
    (problem,) = read(envelope(content=content)).envelopes[0].header_problems
    assert (problem.code, problem.path) == ("envelope.text", path)


def test_elements_in_a_header_value_are_refused() -> None:
    assert [code for code, _ in _problems(envelope(header=f"{ACTION}<Company>a<b/></Company>"))] == ["header.content"]


def test_attributes_on_the_frame_are_refused_by_name() -> None:
    ((code, text),) = _problems(envelope(header=f'{ACTION}<Company id="1">a</Company>'))
    assert (code, text) == ("envelope.attribute", "Company has no attribute id; remove it.")


def test_body_must_hold_one_message_parts() -> None:
    for body in ("<Body/>", "<Body><MessageParts/><MessageParts/></Body>", f"<Body>{order()}</Body>"):
        assert [code for code, _ in _problems(envelope(body=body))] == ["envelope.structure"]


def test_empty_message_parts_have_no_parts_and_no_problem() -> None:
    only = read(envelope(body="<Body><MessageParts/></Body>")).envelopes[0]
    assert (only.parts, only.header_problems) == ((), ())


def test_order_counts_only_for_a_strict_port() -> None:
    header = f"{ACTION}<Company>a</Company>"
    assert _problems(envelope(header=header)) == []
    assert [code for code, _ in _problems(envelope(header=header), strict=True)] == ["header.order"]


_VALUE = st.sampled_from(["", " ", "a", " b ", "a&amp;b", "<![CDATA[<x>]]>", "<!-- c -->d", "é\u00a0", "<e/>", "a>b"])
_ELEMENT = st.builds(
    lambda name, value, attributes: f"<{name}{attributes}>{value}</{name}>" if value else f"<{name}{attributes}/>",
    st.sampled_from([*FIELDS, "Action", "Action", "Colour"]),
    _VALUE,
    st.sampled_from(["", "", "", "", ' xmlns=""', ' a="1"', ' xml:lang="de"', f' xmlns="{MESSAGE}"']),
)
_GAP = st.sampled_from(["", "", "", "\n ", "x", "<!-- c -->", "<?p i?>", "\u00a0"])
_FRAME = st.builds(
    lambda prefix, fields, gaps, body, attributes: (
        f'<{prefix}Envelope xmlns{":" + prefix[:-1] if prefix else ""}="{MESSAGE}"{attributes}>{gaps[0]}'
        f"<{prefix}Header>{gaps[1]}{''.join(fields)}{gaps[2]}</{prefix}Header>{gaps[3]}"
        f"<{prefix}Body>{gaps[4]}<{prefix}MessageParts>{gaps[5]}{body}{gaps[6]}</{prefix}MessageParts>"
        f"</{prefix}Body>{gaps[7]}</{prefix}Envelope>"
    ),
    st.sampled_from(["", "", "e:"]),
    st.lists(_ELEMENT, max_size=4).map(lambda fields: [ACTION, *fields]),
    st.lists(_GAP, min_size=8, max_size=8),
    st.sampled_from([order(), order() + order(), "", "<x/>", "x"]),
    st.sampled_from(["", "", ' xmlns:u="urn:unused"', ' BatchId="1"']),
)


@given(first=_FRAME, second=_FRAME, change=st.sampled_from([("ceu", "dat"), ("\n", "\n\t"), ("x", "y")]))
def test_short_ways_and_tree_agree(first: str, second: str, change: tuple[str, str]) -> None:
    """`plain` reads bytes, `header` the tree; whatever the first accepts the second must see in the same way.

    The second and third envelope are met with the shape of an earlier one in mind.
    """
    names, plain = Names.of(MESSAGE), UsualFrames()
    for text in (envelope(header=f"<Company>ceu</Company>{ACTION}"), first, second, first.replace(*change)):
        try:
            element = parse_checked(text.encode())
        except MalformedMessage:
            continue  # the change hit a name
        if element.tag != names.envelope:
            continue
        content = etree.tostring(element, encoding="utf-8", with_tail=False)
        short, long = read_frame(element, names, content, plain), read_frame(element, names)
        assert short.header == long.header
        assert short.problems == long.problems
        assert list(short.parts) == list(long.parts)


@pytest.mark.parametrize(
    "other",
    [
        "<Company>b</Company>" + ACTION,
        "<Company>b&amp;c</Company>" + ACTION,
        "<Company>b</Company><Company>c</Company>" + ACTION,
        "<Partner>b</Partner>" + ACTION,
        '<Company xmlns="">b</Company>' + ACTION,
        "<Company>b</Company><Action/>",
        "<Company>b</Company> x" + ACTION,
    ],
)
def test_envelope_like_the_one_before_is_read_for_itself(other: str) -> None:
    first, second = read(batch(*(envelope(header=each) for each in ("<Company>a</Company>" + ACTION, other)))).envelopes
    alone = read(envelope(header=other)).envelopes[0]
    assert (second.header, second.header_problems) == (alone.header, alone.header_problems)
    assert first.header.company == "a"


@pytest.mark.parametrize("junk", ["<x/>", "<Company>a</Company>", "<n{0}/>"])
def test_of_many_mistakes_in_a_header_twenty_are_told(junk: str) -> None:
    text = envelope(header=ACTION + "".join(junk.format(number) for number in range(2_000)))
    (only,) = read(text).envelopes
    assert len(only.header_problems) == MAX_PROBLEMS
    assert re.search(r"There are 19\d\d more problems", only.header_problems[-1].text)


def test_more_than_a_hundred_documents_are_one_problem_and_none_is_judged() -> None:
    bad, good = (read(envelope("<b/>" * count)).envelopes[0] for count in (101, 100))
    assert [(each.code, each.path) for each in bad.header_problems] == [
        ("envelope.structure", "/Envelope/Body/MessageParts")
    ]
    assert (bad.parts, len(good.parts), good.header_problems) == ((), 100, ())
