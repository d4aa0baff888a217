"""The section on data exchange: what is refused, and where it is said."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config.definitions import job_definitions
from gateway.config.load import parse
from gateway.config.models import Settings
from gateway.kernel.errors import ConfigError
from gateway.runtime.logs import secrets_of


def loaded(tmp_path: Path, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
    return parse(json.dumps(options).encode(), file="config.yaml", base=tmp_path, environ=environ or {})


def problems(tmp_path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **options)
    return "\n".join(f"{one.path}: {one.text}" for one in caught.value.problems)


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ({}, "needs either `database` or `folder`"),
        ({"database": "embedded", "folder": "./x"}, "needs either `database` or `folder`"),
        ({"database": "embedded", "sessions": "./x"}, "sessions goes with `folder`"),
        ({"database": "mysql://x"}, "must be embedded, or a URL"),
        ({"database": "postgresql://a:secret@h/d"}, "data_exchange.stores.shops.database: holds a password"),
        ({"folder": "./data"}, "must not reach|belongs to the gateway"),
        ({"folder": "./x", "work": "./x/work"}, "partners must not reach"),
    ],
)
def test_wrong_store_is_refused(tmp_path: Path, store: dict[str, str], reason: str) -> None:
    found = problems(tmp_path, data_exchange={"stores": {"shops": store}})
    assert any(part in found for part in reason.split("|")), found


def test_names_of_stores_must_exist(tmp_path: Path) -> None:
    services = {"S": {"kind": "document", "document": "Customer", "entity": "CustTable", "key": "AccountNum"}}
    port = {"direction": "outbound", "send": {"folder": "./out"}, "operations": ["S.read"], "sessions": "shop"}
    job = {"tasks": {"upload": {"run": "status_messages", "with": {"stores": ["others"]}}}}
    found = problems(
        tmp_path, services=services, ports={"copies": port}, jobs={"upload": job},
        data_exchange={"stores": {"shops": {"folder": "./status"}}},
    )  # fmt: skip
    assert "ports.copies.sessions: there is no store 'shop'; did you mean 'shops'?" in found
    assert "jobs.upload.tasks.upload.with.stores[0]: there is no store 'others'; known are shops" in found


def test_embedded_message_store_needs_the_embedded_server(tmp_path: Path) -> None:
    stores = {"shops": {"database": "embedded"}}
    assert loaded(tmp_path, data_exchange={"stores": stores}).data_exchange.stores["shops"].database == "embedded"
    found = problems(tmp_path, store="postgresql://host/gateway", data_exchange={"stores": stores})
    assert "embedded goes with `store: embedded`" in found


def test_two_stores_and_ports_cannot_share_an_inbound_folder(tmp_path: Path) -> None:
    stores = {"a": {"folder": "./status"}, "b": {"folder": "./status"}}
    assert "each needs an inbound folder of its own" in problems(tmp_path, data_exchange={"stores": stores})


def test_password_from_outside_is_a_secret(tmp_path: Path) -> None:
    stores = {"shops": {"database": "postgresql://a:${PASSWORD}@h/d"}}
    settings = loaded(tmp_path, {"PASSWORD": "hunter2"}, data_exchange={"stores": stores})
    assert "hunter2" in secrets_of(settings)
    assert "hunter2" not in repr(settings) and "hunter2" not in settings.model_dump_json()


def test_job_that_copies_messages_is_overdue_after_a_day_unless_it_says_otherwise(tmp_path: Path) -> None:
    tasks = {"upload": {"run": "status_messages"}}
    hourly = {"recurrence": {"every": "1 hour"}}
    settings = loaded(
        tmp_path,
        jobs={
            "a": {**hourly, "tasks": tasks},
            "b": {**hourly, "tasks": tasks, "overdue_seconds": 60.0},
            "c": {**hourly, "tasks": {"x": {"run": "sql", "with": {"statements": "SELECT 1"}}}},
        },
    )
    found = {job.name: job.overdue_seconds for job, _ in job_definitions(settings)}
    assert (found["a"], found["b"], found["c"]) == (86_400.0, 60.0, None)
