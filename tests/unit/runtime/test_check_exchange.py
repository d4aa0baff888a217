"""Checking message stores: their folders, and whether a job copies what is in them."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.models import Settings
from gateway.runtime.check import check_exchange
from gateway.runtime.checked import Verdict


def found(tmp_path: Path, stores: dict[str, Any], tasks: dict[str, Any]) -> list[tuple[str, Verdict, str]]:
    settings = Settings.model_validate(
        {
            "data": str(tmp_path / "data"), "data_exchange": {"stores": stores},
            "jobs": {name: {"tasks": {"upload": task}} for name, task in tasks.items()},
        },
        context={"base": tmp_path},
    )  # fmt: skip
    return [(one.subject, one.verdict, one.text) for one in check_exchange(settings, site=tmp_path)]


UPLOAD = {"run": "status_messages"}


@pytest.mark.parametrize(
    ("tasks", "warned"),
    [
        ({}, {"a", "b"}),
        ({"upload": UPLOAD}, set()),
        ({"upload": {**UPLOAD, "with": {"stores": ["a"]}}}, {"b"}),
    ],
)
def test_store_that_no_job_copies_is_warned_of(tmp_path: Path, tasks: dict[str, Any], warned: set[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    stores = {"a": {"folder": str(tmp_path / "a")}, "b": {"database": "postgresql://host/exchange"}}
    assert {subject for subject, verdict, _ in found(tmp_path, stores, tasks) if verdict is Verdict.WARNING} == {
        f"store {name}" for name in warned
    }


def test_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    ((subject, verdict, text),) = found(tmp_path, {"a": {"folder": "/nowhere/status"}}, {"upload": UPLOAD})
    assert (subject, verdict) == ("store a", Verdict.ERROR)
    assert "/nowhere/status (data_exchange.stores.a.folder)" in text
