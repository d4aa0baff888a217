"""Files split into envelopes: whole files only, bounded memory, limits by bytes as received."""

import hashlib
import os
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.kernel.errors import ConfigError, ConfigProblem, FileRefused
from gateway.kernel.problem import Problem
from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope, Root
from gateway.xml.limits import ReadRules
from gateway.xml.locate import Locator
from gateway.xml.parse import parse_checked
from gateway.xml.reading import read_envelopes
from tests.hostile import ACTION, BATCH, MESSAGE, batch, endless_envelope, envelope, line, order, parts, sized
from tests.unit.xml.reading import file_of, read

ONE = envelope()


class _Judge:
    """Finds every quantity of 13 wrong."""

    fingerprint = "f-1"

    def begin(self) -> None:
        pass

    def check(self, part: etree._Element, *, brief: bool = False) -> Sequence[Problem]:
        wrong = [each for each in part.iter("{*}SalesQty") if each.text == "13"]
        return tuple(Problem(code="schema", text="13", path="/SalesOrder") for _ in wrong)


class _Places(Locator):
    """Puts the position of the envelope where the line should be."""

    def place(
        self, fd: int, encoding: str, position: int, envelope: etree._Element, problems: Sequence[Problem]
    ) -> Sequence[Problem]:
        return tuple(Problem(code=each.code, text=encoding, line=position) for each in problems)


def test_batch_gives_head_envelopes_in_order_and_end() -> None:
    text = batch(envelope(order(form="A")), envelope(order(form="B")), attributes=' BatchId=" 7 " ConversationId=""')
    done = read(text)
    assert done.head == FileHead(root=Root.BATCH, namespace=BATCH, encoding="UTF-8", batch_id="7")
    assert [each.position for each in done.envelopes] == [1, 2]
    assert [b">B<" in each.content for each in done.envelopes] == [False, True]
    content = text.encode()
    assert done.end == FileEnd(envelopes=2, size=len(content), sha256=hashlib.sha256(content).digest())


def test_single_envelope_is_a_file_without_set() -> None:
    done = read(ONE)
    assert done.head == FileHead(root=Root.ENVELOPE, namespace=MESSAGE, encoding="UTF-8")
    assert len(done.envelopes) == 1
    assert done.envelopes[0].schema is None


@pytest.mark.parametrize(
    "namespace",
    [BATCH, BATCH.replace("http:", "https:"), BATCH.replace("/dynamics/", "/Microsoft Dynamics/")],
)
def test_documented_batch_namespaces_are_taken_as_written(namespace: str) -> None:
    assert read(batch(ONE, namespace=namespace)).head.namespace == namespace


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_namespace_with_a_blank_is_taken_without_touching_values(encoding: str) -> None:
    blank = BATCH.replace("/dynamics/", "/Microsoft Dynamics/")
    text = batch(envelope(header=f"<Company>/Microsoft Dynamics/</Company>{ACTION}"), namespace=blank)
    content = f"<!-- é {blank} -->{text}".encode(encoding)
    done = read(content)
    assert done.envelopes[0].header.company == "/Microsoft Dynamics/"
    assert done.end.sha256 == hashlib.sha256(content).digest()


def test_content_stands_alone_with_inherited_declarations() -> None:
    text = (
        f'<b:Batch xmlns:b="{BATCH}" xmlns:e="{MESSAGE}"><e:Envelope><e:Header><e:Action>x</e:Action></e:Header>'
        f"<e:Body><e:MessageParts>{order()}</e:MessageParts></e:Body></e:Envelope>\n</b:Batch>"
    )
    (only,) = read(text).envelopes
    assert parse_checked(only.content).tag == f"{{{MESSAGE}}}Envelope"
    assert only.content.endswith(b"</e:Envelope>")
    assert only.parts == (f"{{{order().split(chr(34))[1]}}}SalesOrder",)


def test_content_is_utf_8_whatever_the_file_is_in() -> None:
    text = f'<?xml version="1.0" encoding="UTF-16"?>{batch(envelope(order(form="Größe€")))}'
    done = read(text.encode("utf-16"))
    assert "Größe€".encode() in done.envelopes[0].content
    assert done.head.encoding == "UTF-16LE"


def test_only_the_judged_envelope_has_problems_and_the_schemas_are_named() -> None:
    bad = envelope(order().replace(">10<", ">13<"))
    done = read(batch(ONE, bad, ONE), checker=_Judge())
    assert [len(each.body_problems) for each in done.envelopes] == [0, 1, 0]
    assert {each.schema for each in done.envelopes} == {"f-1"}


def test_problems_get_their_places_from_the_locator() -> None:
    bad = envelope(order().replace(">10<", ">13<"), header="<Company>x</Company>")
    done = read(batch(ONE, bad), checker=_Judge(), locator=_Places())
    both = (*done.envelopes[1].header_problems, *done.envelopes[1].body_problems)
    assert [(each.code, each.line) for each in both] == [("action.missing", 2), ("schema", 2)]


def test_unusable_schema_is_a_problem_of_its_messages_alone() -> None:
    class Broken(_Judge):
        def check(self, part: etree._Element, *, brief: bool = False) -> Sequence[Problem]:
            raise ConfigError([ConfigProblem(file="a.xsd", line=3, path="", text="unknown type")])

    (only,) = read(ONE, checker=Broken()).envelopes
    assert [(each.code, each.path) for each in only.body_problems] == [("schema.unusable", "/SalesOrder")]
    assert "unknown type" in only.body_problems[0].text


def test_document_with_type_is_one_problem() -> None:
    typed = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x"'
    (only,) = read(envelope(order(root=typed)), checker=_Judge()).envelopes
    assert [each.code for each in (*only.header_problems, *only.body_problems)] == ["xsi.type.forbidden"]


@pytest.mark.parametrize("percent", range(1, 100))
def test_cut_file_never_ends_well(percent: int) -> None:
    content = f'<?xml version="1.0"?>\n{batch(ONE, "<!-- x -->", ONE, ONE)}'.encode()
    with file_of(content[: len(content) * percent // 100]) as fd, pytest.raises(FileRefused) as caught:
        for item in read_envelopes(fd, ReadRules()):
            assert not isinstance(item, FileEnd)
    assert caught.value.code == "xml.incomplete"


@settings(max_examples=100)
@example(cut=1427, encoding="utf-8")  # inside the start tag of the root
@given(cut=st.integers(1, 1800), encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "gb18030"]))
def test_file_cut_at_any_byte_is_called_incomplete(cut: int, encoding: str) -> None:
    first = envelope(order(form="<![CDATA[é and more of it]]>&amp;"))
    between = "<!-- another remark of the shop --><?an instruction of the shop?>"
    text = f"<!-- é\r\n a remark of the shop -->{batch(first, between, ONE)}"
    if encoding == "gb18030":
        text = f'<?xml version="1.0" encoding="{encoding}"?>{text}'
    content = text.encode(encoding)
    with pytest.raises(FileRefused) as caught:
        read(content[: -min(cut, len(content) - 4)])
    assert caught.value.code in {"xml.incomplete", "file.empty"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_limit_smaller_than_what_is_read_at_once_counts_for_each_envelope(encoding: str) -> None:
    small, large = envelope(), envelope(order(line() * 20))
    width = 2 if encoding == "utf-16" else 1
    limit = (len(small) + len(large)) * width // 2
    pattern = [small, large, large, small] * 20
    envelopes = read(batch(*pattern).encode(encoding), ReadRules(max_envelope_bytes=limit)).envelopes
    too_large = [[each.code for each in one.header_problems] == ["message.too-large"] for one in envelopes]
    assert too_large == [one is large for one in pattern]


def test_error_in_the_middle_is_not_called_a_cut() -> None:
    with pytest.raises(FileRefused) as caught:
        read(batch(envelope(order(form="Smith & Sons")), ONE))
    assert caught.value.code == "xml.not-wellformed"
    assert caught.value.column is not None and caught.value.column < len(envelope())


@given(cuts=st.lists(st.integers(0, 1200), max_size=3), fill=st.sampled_from(["", "é", "&lt;", "<!--é-->"]))
def test_envelopes_are_the_same_wherever_they_lie_in_the_file(cuts: list[int], fill: str) -> None:
    """Moves envelopes over the chunk borders of the reader."""
    padding = ["<!--" + "x" * (65_536 - 600 + cut) + "-->" for cut in cuts]
    documents = [envelope(order(form=f"{number}{fill}")) for number in range(len(cuts) + 1)]
    mixed = [piece for pair in zip(documents, [*padding, ""], strict=True) for piece in pair]
    done = read(batch(*mixed))
    assert [each.content for each in done.envelopes] == [read(one).envelopes[0].content for one in documents]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "iso-8859-1"])
@pytest.mark.parametrize("prefix", ["", "e:"])
def test_size_is_measured_in_bytes_as_received(encoding: str, prefix: str) -> None:
    limit = 200_000
    rules = ReadRules(max_envelope_bytes=limit, hard_envelope_bytes=10 * limit)
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-be")}"?>' if encoding == "iso-8859-1" else ""
    mark = "\ufeff" if encoding == "utf-16-be" else ""

    def big(length: int) -> str:
        start = f'<{prefix}Envelope xmlns{":e" if prefix else ""}="{MESSAGE}">'
        head = f"{start}<{prefix}Header/><{prefix}Body><!--<Envelope>&é-->"
        tail = f"</{prefix}Body></{prefix}Envelope\n>"
        width = 2 if encoding.startswith("utf-16") else 1
        extra = len("é".encode(encoding)) - 1 if width == 1 else 0
        return head + "x" * (length // width - len(head) - len(tail) - extra) + tail

    for length, too_large in ((limit, True), (limit - 2, False)):
        text = f"{mark}{declared}{batch(ONE, '  ', big(length), chr(10), ONE)}"
        codes = [
            "message.too-large" in {problem.code for problem in each.header_problems}
            for each in read(text.encode(encoding), rules).envelopes
        ]
        assert codes == [False, too_large, False]


def test_over_long_envelope_keeps_its_header_and_loses_its_content() -> None:
    rules = ReadRules(max_envelope_bytes=300_000, hard_envelope_bytes=3_000_000)
    header = f"<Company>ceu</Company>{ACTION}"
    long = envelope(header=header, body=parts(f"<r>{'<a><b>1</b></a>' * 60_000}</r>"))
    (first, only, last) = read(batch(ONE, long, ONE), rules).envelopes
    assert (only.content, only.header.company, only.header.action is not None) == (b"", "ceu", True)
    assert [problem.code for problem in only.header_problems] == ["message.too-large"]
    assert (*first.header_problems, *last.header_problems) == ()


def test_endless_envelope_ends_the_file() -> None:
    rules = ReadRules(max_envelope_bytes=100_000, hard_envelope_bytes=1_000_000)
    with pytest.raises(FileRefused) as caught:
        read(endless_envelope(5_000_000), rules)
    assert (caught.value.code, caught.value.line) == ("message.too-large", 1)


def test_endless_foreign_element_is_called_foreign() -> None:
    rules = ReadRules(max_envelope_bytes=100_000, hard_envelope_bytes=1_000_000)
    with pytest.raises(FileRefused) as caught:
        read(batch(ONE, "<x>" + "<y/>" * 500_000), rules)
    assert caught.value.code == "batch.foreign-element"


def test_file_over_its_limit_is_refused_unread() -> None:
    with file_of(b"") as fd:
        os.truncate(fd, 3_000_000_000)
        with pytest.raises(FileRefused, match="3000000000 bytes") as caught:
            next(read_envelopes(fd, ReadRules()))
    assert caught.value.code == "file.too-large"
    assert "sha256" not in caught.value.context


def test_file_that_changes_while_it_is_read_is_refused() -> None:
    with file_of(batch(ONE).encode()) as fd, pytest.raises(FileRefused) as caught:
        for item in read_envelopes(fd, ReadRules()):
            if isinstance(item, FileHead):
                os.lseek(fd, 0, os.SEEK_END)
                os.write(fd, b"\n")
            assert not isinstance(item, FileEnd)
    assert caught.value.code == "file.changed"


def test_refusal_carries_size_and_hash_of_the_whole_file() -> None:
    content = (batch(ONE) + "x" * 200_000).encode()
    with pytest.raises(FileRefused) as caught:
        read(content)
    assert caught.value.context == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_wrong_byte_is_named_by_its_offset() -> None:
    content = envelope(order(form="@")).encode()
    with pytest.raises(FileRefused, match=f"Byte {content.index(b'@')} of the file \\(0xE9\\)") as caught:
        read(content.replace(b"@", b"\xe9"))
    assert caught.value.context["byte_offset"] == content.index(b"@")


def test_limits_are_per_port() -> None:
    with pytest.raises(FileRefused) as caught:
        read(batch(ONE, ONE, ONE), ReadRules(max_envelopes=2))
    assert caught.value.code == "batch.too-many"
    with pytest.raises(FileRefused) as caught:
        read(envelope('<a b="1" c="2"/>'), ReadRules(max_attributes=1))
    assert caught.value.code == "xml.too-many-attributes"


def test_many_attributes_in_all_but_few_on_each_element_are_fine() -> None:
    inside = "<a b='1' c='2'/>" * 500 + '<t>= = =" =</t>' * 200
    (only,) = read(envelope(f"<r>{inside}</r>")).envelopes
    assert only.header_problems == ()


def test_largest_envelope_that_is_allowed_comes_out() -> None:
    text = sized(9_999_999)
    (only,) = read(batch(text)).envelopes
    assert isinstance(only, ReadEnvelope)
    assert (len(text), only.header_problems, len(only.content)) == (9_999_999, (), len(only.content))
