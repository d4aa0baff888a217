"""A change of the configuration is noticed when nobody tells of it, and no trouble with the file ends the gateway."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.config.load import load, parse
from gateway.config.models import Settings
from gateway.kernel.errors import StoreUnavailable
from gateway.messaging.services.python import HandlerNotFound
from gateway.runtime import reload
from gateway.runtime.code_files import Signature, signature
from gateway.runtime.in_use import KeptConfig
from gateway.runtime.reload import ConfigFollower

BEFORE = "ports: {}\n"
AFTER = "queue: {max_ready: 7}\n"
BROKEN = "ports: [\n"


class Follower:
    """Follows a file whose configuration nobody runs.

    The next of `trouble` is raised instead of taking a configuration into use, or telling that it was refused.
    """

    def __init__(self, config: Path, data: Path) -> None:
        config.write_text(BEFORE)
        self.config = config
        self.applied: list[Settings] = []
        self.reported: list[Sequence[str]] = []
        self.trouble: list[Exception] = []
        self.loaded: dict[str, Signature] = {}
        self._follower = ConfigFollower(
            config, load(config, os.environ), parse=self._parse, apply=self._apply, report=self._report,
            kept=KeptConfig(data, config, BEFORE.encode()), loaded=lambda: self.loaded,
        )  # fmt: skip

    async def _parse(self, content: bytes) -> Settings:
        return parse(content, file=str(self.config), base=self.config.parent, environ=os.environ)

    async def _apply(self, _: Settings, new: Settings, code_changed: bool) -> None:
        if self.trouble:
            raise self.trouble.pop()
        self.applied.append(new)
        if code_changed:
            self.load(*self.loaded)

    def load(self, *files: str) -> None:
        """Let code be in use as it is in these files now."""
        self.loaded = {file: signature(Path(file)) for file in files}

    async def _report(self, problems: Sequence[str]) -> None:
        if self.trouble:
            raise self.trouble.pop()
        self.reported.append(problems)

    async def settle(self) -> None:
        """Poll twice: what two polls see the same is taken up."""
        for _ in range(2):
            await self._follower.poll()

    async def run(self, stopping: asyncio.Event) -> None:
        await self._follower.run(stopping)


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    folder = tmp_path / "conf"
    folder.mkdir()
    return Follower(folder / "config.yaml", tmp_path)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def names(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


async def test_change_made_before_following_began_is_taken_into_use(follower: Follower) -> None:
    follower.config.write_text(AFTER)
    await follower.settle()
    assert [settings.queue.max_ready for settings in follower.applied] == [7]


async def test_running_follower_takes_a_change_and_ends_when_told(follower: Follower) -> None:
    stopping = asyncio.Event()
    following = asyncio.create_task(follower.run(stopping))
    follower.config.write_text(AFTER)
    async with asyncio.timeout(60):
        while not follower.applied:
            await asyncio.sleep(0)
        stopping.set()
        await following


@pytest.mark.parametrize("trouble", ["a name", "no instances"])
async def test_folder_that_cannot_be_watched_is_told_once_and_the_file_is_polled(
    trouble: str, follower: Follower, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(reload, "_WATCH_AGAIN_SECONDS", 0.01)
    if trouble == "no instances":
        monkeypatch.setattr(reload, "awatch", no_instances)
    stopping = asyncio.Event()
    following = asyncio.create_task(follower.run(stopping))
    number = 0
    async with asyncio.timeout(60):
        while "config.watch_failed" not in names(logs):
            number += 1
            with open(os.fsencode(follower.config.parent) + b"/Gr\xf6\xdfe-%d.txt" % number, "wb"):
                pass
            await asyncio.sleep(0.01)
        follower.config.write_text(AFTER)
        while not follower.applied:
            await asyncio.sleep(0.01)
        stopping.set()
        await following
    assert names(logs).count("config.watch_failed") == 1


def no_instances(*_: object, **__: object) -> AsyncIterator[None]:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_file_that_still_changes_is_left_alone(follower: Follower) -> None:
    follower.config.write_text(BROKEN)
    await follower._follower.poll()
    follower.config.write_text(AFTER)
    await follower._follower.poll()
    assert follower.applied == []
    await follower._follower.poll()
    assert len(follower.applied) == 1


async def test_name_that_is_no_utf8_beside_the_file_does_not_matter(follower: Follower) -> None:
    with open(os.fsencode(follower.config.parent) + b"/Gr\xf6\xdfe.txt", "wb"):
        pass
    follower.config.write_text(AFTER)
    await follower.settle()
    assert len(follower.applied) == 1


def a_loop_of_links(config: Path) -> None:
    config.unlink()
    config.symlink_to(config.name)


def a_folder_that_went(config: Path) -> None:
    config.unlink()
    config.parent.rmdir()


def a_file_in_place_of_the_folder(config: Path) -> None:
    a_folder_that_went(config)
    config.parent.write_text("")


@pytest.mark.parametrize("trouble", [a_loop_of_links, a_folder_that_went, a_file_in_place_of_the_folder])
async def test_file_that_cannot_be_looked_at_is_told_once_and_waited_for(
    trouble: Any, follower: Follower, logs: list[Any]
) -> None:
    await follower.settle()
    trouble(follower.config)
    await follower.settle()
    await follower.settle()
    assert names(logs) == ["config.unreadable"] and logs[0]["log_level"] == "warning"
    if follower.config.parent.is_file():
        follower.config.parent.unlink()
    follower.config.parent.mkdir(exist_ok=True)
    follower.config.unlink(missing_ok=True)
    follower.config.write_text(AFTER)
    await follower.settle()
    assert len(follower.applied) == 1


async def test_changed_code_is_loaded_anew_once(follower: Follower, logs: list[Any]) -> None:
    handler, helper = (follower.config.parent / name for name in ("handler.py", "helper.py"))
    for file in (handler, helper):
        file.write_text("")
    follower.load(str(handler), str(helper))
    await follower.settle()
    assert not follower.applied
    helper.write_text("# changed\n")
    for _ in range(4):
        await follower._follower.poll()
    assert len(follower.applied) == 1
    assert [entry["code"] for entry in logs] == [[str(helper)]]


async def test_code_that_is_refused_is_not_tried_again_until_it_changes(follower: Follower, logs: list[Any]) -> None:
    handler = follower.config.parent / "handler.py"
    handler.write_text("")
    follower.load(str(handler))
    await follower.settle()
    for content in ("broken", "mended by now"):
        follower.trouble = [HandlerNotFound("it cannot be imported")] if content == "broken" else []
        handler.write_text(content)
        for _ in range(4):
            await follower._follower.poll()
    assert names(logs) == ["config.refused", "config.reloaded"]
    assert len(follower.applied) == 1 and follower.reported == [["it cannot be imported"]]


async def test_absence_of_a_moment_is_not_told(follower: Follower, logs: list[Any]) -> None:
    await follower.settle()
    follower.config.unlink()
    await follower._follower.poll()
    follower.config.write_text(AFTER)
    await follower.settle()
    assert names(logs) == ["config.reloaded"]


async def test_reload_that_meets_an_absent_database_is_tried_again(follower: Follower, logs: list[Any]) -> None:
    follower.trouble = [StoreUnavailable("it is away"), StoreUnavailable("it is away")]
    follower.config.write_text(AFTER)
    for _ in range(4):
        await follower._follower.poll()
    assert len(follower.applied) == 1
    assert names(logs) == ["store.unavailable", "config.reloaded"]


async def test_refusal_is_told_once_when_the_database_is_there(follower: Follower, logs: list[Any]) -> None:
    follower.trouble = [StoreUnavailable("it is away")]
    follower.config.write_text(BROKEN)
    for _ in range(4):
        await follower._follower.poll()
    assert len(follower.reported) == 1
    assert f"{follower.config}:" in follower.reported[0][0], "it says where"
    assert names(logs) == ["config.refused", "store.unavailable"]


async def test_whatever_is_raised_refuses_the_change_and_the_next_one_is_taken(
    follower: Follower, logs: list[Any]
) -> None:
    follower.trouble = [RuntimeError("a bug")]
    follower.config.write_text(AFTER)
    await follower.settle()
    assert "config.refused" in names(logs) and follower.applied == []
    follower.config.write_text(AFTER + "\n")
    await follower.settle()
    assert len(follower.applied) == 1
