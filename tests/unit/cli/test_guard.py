"""What a person typed or a machine refuses is told in one sentence; it is never called a bug."""

import errno
import os
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli.guard import guard, trouble_of_machine
from gateway.cli.main import commands

BIG = str(2**63)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, with a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def gateway(*words: str | bytes) -> int:
    """Run the command as `main` does; return its exit code."""
    first, *others = (os.fsdecode(word) for word in words)
    with pytest.raises(SystemExit) as ended:
        guard(get_command(commands(first)))([first, *others])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["runs", "show", BIG], 2, f"run {BIG} is larger than any number can be here."),
        (["alerts", "read", "1", BIG], 2, f"numbers {BIG} is larger than any number can be here."),
        (["explain", b"latin\xe4.xml"], 2, r"what latin\xe4.xml is not UTF-8. Write the name as the gateway shows it."),
        (["lanes", "show", b"p\xff"], 2, r"lane p\xff is not UTF-8."),
        (["runs", "search", "a", b"p\xff"], 2, r"text p\xff is not UTF-8."),
        (["schema", "-o", "nowhere/x.json"], 1, "Error: nowhere/x.json cannot be written: No such file or directory"),
        (["check", "-c", b"p\xff.yaml"], 1, r"p\xff.yaml: cannot be read: No such file or directory"),
        (["init", b"p\xff"], 1, r"p\xff is not UTF-8: name a folder that is"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_sentence(
    words: list[str | bytes], code: int, said: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gateway(*words) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "status", "run"])
def test_a_site_below_a_folder_that_is_not_utf8_is_refused(
    command: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(os.fsdecode(b"s\xff"))
    folder.mkdir()
    (folder / "config.yaml").write_text("store: embedded\n")
    assert gateway(command, "-c", bytes(folder / "config.yaml")) == 1
    assert r"s\xff: the path of this folder is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "x"), "this process may not open more than"),
        (OSError(errno.ENFILE, "x"), "the machine may not open more files"),
        (BlockingIOError(errno.EAGAIN, "x"), "no more processes or threads may be started"),
        (RuntimeError("can't start new thread"), "no more processes or threads may be started"),
        (MemoryError(), "there is not enough memory"),
        (PermissionError(errno.EACCES, "x", "/srv/a"), "/srv/a: Permission denied"),
        (OSError(errno.ENOSPC, "x"), "the disk is full"),
        (ExceptionGroup("x", [MemoryError(), OSError(errno.EMFILE, "x")]), "there is not enough memory"),
    ],
)
def test_trouble_of_the_machine_is_told_as_such(error: Exception, said: str) -> None:
    told = trouble_of_machine(error)
    assert told is not None
    assert told.startswith(said)


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), OSError("x"), ExceptionGroup("x", [MemoryError(), KeyError("x")])]
)
def test_a_bug_stays_a_bug(error: Exception) -> None:
    assert trouble_of_machine(error) is None
