"""Which files of the users a process has loaded."""

import importlib
import sys
from pathlib import Path

import pytest

from gateway.runtime.code_files import loaded_besides, signature


def test_what_a_handler_imports_counts_and_what_is_installed_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, helper = tmp_path / "my_loaded_handler.py", tmp_path / "my_loaded_helper.py"
    handler.write_text("import my_loaded_helper, pip, this")
    helper.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("pip", "this", handler.stem, helper.stem)]:
        monkeypatch.delitem(sys.modules, name)
    before = frozenset(sys.modules)
    importlib.import_module(handler.stem)
    loaded = loaded_besides(before)
    assert loaded == {str(file): signature(file) for file in (handler, helper)}
    helper.unlink()
    assert isinstance(signature(helper), str)
