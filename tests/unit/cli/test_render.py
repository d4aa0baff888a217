"""Tables on a narrow terminal: what is short stays whole, a long text does not blow up its row."""

import re

import pytest
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from gateway.cli import check, render
from gateway.cli.render import Fields, Rows, console, print_document
from gateway.runtime.checked import Finding, Verdict

COLUMNS = ("number", "reason", "message id", "error", "file")
LONG = "The document is not valid: line 32, column 15, /TimeSheet/Sheet[1]: 800 must be not more than 24. " * 3
FILE = "orders-2031-05-28-from-the-north.xml"
ROW = (4711, "address_unavailable", "{722B196B-4ACB-4048-8ED3-36915A7DD269}", LONG, FILE)


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    monkeypatch.setattr(render, "console", lambda: Console(width=width, highlight=False, markup=False))
    narrow = ("number", "reason", "error", "file")
    render.show([Rows(COLUMNS, [ROW, ROW], narrow=narrow, cut=("error",))])
    return capsys.readouterr().out.splitlines()


def test_a_narrow_terminal_keeps_words_whole_and_cuts_long_texts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, monkeypatch, 80)
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if "4711   address_unavailable   The document" in line] != []
    assert len(lines) <= 9, "a few lines for each row"
    assert "{722B" not in "".join(lines) and "…" in "".join(lines)


def test_elsewhere_nothing_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (line, _) = [line for line in shown(capsys, monkeypatch, 1000) if "4711" in line]
    assert LONG.strip() in line and "{722B" in line and FILE in line


def test_a_check_on_a_narrow_terminal_leaves_room_for_what_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The folder /srv/partner/orders/in does not exist."
    finding = Finding(subject="port orders", verdict=Verdict.ERROR, text=text, file="config.yaml", line=30)
    monkeypatch.setenv("COLUMNS", "100")
    render.show(check.parts_of([finding], 1))
    assert f"config.yaml:30: {text}" in capsys.readouterr().out


HOSTILE = "a\x1b[2Jb\x9b31m\rc\u202ed\x07"
SEEN = r"a\x1b[2Jb\x9b31m\rc\u202ed\x07"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_is_printed_can_move_the_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    out = console()
    out.print(Text(HOSTILE), soft_wrap=True)
    out.print(Panel(HOSTILE, title="some\x1bwhere"))
    out.print(Rows([f"name {HOSTILE}"], [[HOSTILE]], title=f"title {HOSTILE}"))
    out.print(Rows([], [], HOSTILE))
    out.print(Fields([(HOSTILE, HOSTILE)], title=HOSTILE))
    print_document(f"<a>{HOSTILE}</a>")
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out) if terminal else capsys.readouterr().out
    assert not set("\x1b\x9b\r\u202e\x07") & set(said)
    assert said.count(r"\x1b[2Jb\x9b31m") == 9


def test_a_document_by_itself_goes_into_a_pipe_as_it_is_and_never_to_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_document(f"<a>{HOSTILE}</a>", whole=True)
    assert capsys.readouterr().out == f"<a>{HOSTILE}</a>\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_document(f"<a>{HOSTILE}</a>", whole=True)
    assert capsys.readouterr().out == f"<a>{SEEN}</a>\n"


def test_columns_in_which_nothing_stands_are_left_out_where_room_is_scarce(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {}
    for width in ("80", "1000"):
        monkeypatch.setenv("COLUMNS", width)
        console().print(Rows(("number", "set", "text"), [(1, None, "a"), (2, None, "b")]))
        shown[width] = capsys.readouterr().out.split("\n")[1].split()
    assert shown == {"80": ["number", "text"], "1000": ["number", "set", "text"]}
