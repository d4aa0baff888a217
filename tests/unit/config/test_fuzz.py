"""Whatever is written in the file, the answer is settings or a ConfigError."""

from pathlib import Path

import yaml as plain_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.load import parse
from gateway.kernel.errors import ConfigError

EXAMPLE = (Path(__file__).parents[3] / "config.yaml").read_bytes()
LINES = [line for line in EXAMPLE.split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")]
# No deadline: how long one example takes says nothing on a busy machine.
fuzz = settings(max_examples=60)

TOKENS = [
    b"\t", b"\n", b" ", b":", b"- ", b"&a ", b"*a", b"<<: ", b"!!int ", b"!x ", b"[", b"]", b"{", b"}", b"${", b"${X}",
    b"${X:-}", b"${file:/nowhere}", b"'", b'"', b"\\ud800", b'"\\ud800"', b"|\n", b"? ", b"---\n", b"%", b"@", b"\x00",
    b"\xff", b"\xef\xbb\xbf", b"null", b"~", b"true", b"-1", b"1.5", b"99999999999999999999999", b"\xe2\x80\xae", b"#",
]  # fmt: skip


def try_parse(content: bytes) -> None:
    try:
        parse(content, file="config.yaml", base=Path("/site"), environ={"X": "1", "Y": ""})
    except ConfigError as error:
        assert error.problems
        str(error).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The example with some pieces replaced by tokens that mean something to YAML or to us."""
    content = b"\n".join(LINES)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        content = content[:start] + draw(st.sampled_from(TOKENS)) + content[end:]
    return content


@st.composite
def shuffled(draw: st.DrawFn) -> bytes:
    """Lines of the example, some left out, repeated or indented differently."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=25))
    return b"\n".join(b" " * draw(st.integers(0, 3)) + line for line in lines)


KEYS = st.sampled_from(
    ["store", "data", "schemas", "users", "services", "ports", "queue", "kind", "document", "operations", "receive",
     "folder", "respond", "name", "process", "limits", "max_file_bytes", "handler", "S", "p", "", "<document>", 1,
     "jobs", "gateway", "tasks", "run", "with", "after", "start", "zone", "recurrence", "every", "on", "day", "cron",
     "rrule", "end_by", "mode", "alerts", "servers", "hours", "from", "to", "groups", "accounts"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "document",
            "python",
            "S.create",
            "S.*",
            "in",
            "a:b",
            "${X}",
            "${Y}",
            "${Z}",
            "embedded",
            "rollback",
            "<python>",
            "2026-01-01 02:00",
            "0001-01-01",
            "9999-12-31 23:59",
            "Europe/Copenhagen",
            "2 weeks",
            "last friday",
            "* * 31 2 *",
            "FREQ=YEARLY;BYMONTHDAY=31;BYMONTH=2",
            "timed",
            "18:00",
        ]
    )
)
TREES = st.recursive(
    LEAVES, lambda tree: st.lists(tree, max_size=3) | st.dictionaries(KEYS, tree, max_size=5), max_leaves=20
)


@fuzz
@given(mutated())
def test_mutated_examples_raise_nothing_else(content: bytes) -> None:
    try_parse(content)


@fuzz
@given(shuffled())
def test_shuffled_examples_raise_nothing_else(content: bytes) -> None:
    try_parse(content)


@fuzz
@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_well_formed_nonsense_raises_nothing_else(tree: dict[object, object]) -> None:
    try_parse(plain_yaml.safe_dump(tree).encode())


JOB_KEYS = ["tasks", "start", "zone", "recurrence", "after", "alerts", "mode", "base", "owner", "group", "history"]
JOBS = st.dictionaries(st.sampled_from(["gateway", "a", "b"]), st.dictionaries(st.sampled_from(JOB_KEYS), TREES))


@fuzz
@given(JOBS)
def test_nonsense_about_jobs_raises_nothing_else(tree: dict[str, object]) -> None:
    try_parse(plain_yaml.safe_dump({"jobs": tree}).encode())


RULES = st.dictionaries(
    st.sampled_from(["every", "on", "day", "month", "cron", "rrule", "end_after", "end_by"]), LEAVES, max_size=4
)


@fuzz
@given(RULES, LEAVES, LEAVES)
def test_nonsense_about_recurrences_raises_nothing_else(rule: object, start: object, zone: object) -> None:
    job = {"tasks": {"a": {"run": "sql"}}, "recurrence": rule, "start": start, "zone": zone}
    try_parse(plain_yaml.safe_dump({"jobs": {"j": job}}).encode())


@fuzz
@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_nothing_else(content: bytes) -> None:
    try_parse(content)
