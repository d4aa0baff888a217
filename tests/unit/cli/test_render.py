"""Tables on a narrow terminal: what is short stays whole, a long text does not blow up its row."""

import pytest
from rich.console import Console

from gateway.cli import check, render
from gateway.cli.render import print_rows
from gateway.runtime.checked import Finding, Verdict

COLUMNS = ("number", "reason", "message id", "error", "file")
LONG = "The document is not valid: line 32, column 15, /TimeSheet/Sheet[1]: 800 must be not more than 24. " * 3
FILE = "orders-2031-05-28-from-the-north.xml"
ROW = (4711, "address_unavailable", "{722B196B-4ACB-4048-8ED3-36915A7DD269}", LONG, FILE)


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    monkeypatch.setattr(render, "console", lambda: Console(width=width, highlight=False, markup=False))
    narrow = ("number", "reason", "error", "file")
    print_rows(COLUMNS, [ROW, ROW], nothing="", narrow=narrow, cut=("error",))
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
    monkeypatch.setattr(check, "console", lambda: Console(width=100, highlight=False, markup=False))
    check._print([finding], [finding])
    assert f"config.yaml:30: {text}" in capsys.readouterr().out
