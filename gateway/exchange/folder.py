"""A message store in a folder: stations put one file per status message into it, as partners put their requests."""

import asyncio
import os
import re
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from adapters.file import FileReceiveAdapter, FileReceiveSettings, LocalClock, OneAtATime, PortFolder
from adapters.file.folder import refuse_foreign_link
from adapters.file.fsops import remove_files, replace_files
from gateway.config.models import MessageStore, StoreFolders
from gateway.contracts.adapter import Opener
from gateway.exchange.reading import MOST_BYTES, read_status_message
from gateway.exchange.rules.message import StatusMessageRefused
from gateway.exchange.sources import Given, Kept, SessionName, Told
from gateway.exchange.writing import write_session
from gateway.kernel.errors import FileRefused, LeaseLost
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import Claim, Settled, Settlement

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")
_PATIENCE_SECONDS: Final = 0.5
"""How much longer than the settling time a pass waits for a file that may be whole."""


def store_settings(name: str, settings: MessageStore, folders: StoreFolders) -> FileReceiveSettings:
    """Return how a message store takes files, as the file adapter wants to be told of it."""

    def folder(key: str, path: Path) -> PortFolder:
        return PortFolder(path=path, setting=f"data_exchange.stores.{name}.{key}", port=name)

    return FileReceiveSettings(
        port=PortName(name),
        inbound=folder("folder", folders.inbound),
        work=folder("work", folders.work),
        archive=folder("uploaded", folders.uploaded),
        error=folder("refused", folders.refused),
        settle_seconds=settings.settle_seconds,
        grace_seconds=settings.grace_seconds,
    )


class FolderSource:
    """The folder of a message store (`gateway.exchange.sources.MessageSource`); lives as long as its settings do.

    It remembers what it has seen of files that are not ready, so one pass after another asks the same one. A file that
    cannot be read stays claimed and is given again in the next pass.
    """

    def __init__(
        self,
        name: str,
        settings: MessageStore,
        folders: StoreFolders,
        *,
        data: Path,
        executor: Executor,
        clock: LocalClock,
    ) -> None:
        self._folders = folders
        self._data = data
        self._executor = executor
        self._clock = clock
        self._settle_seconds = settings.settle_seconds
        self._adapter = FileReceiveAdapter(store_settings(name, settings, folders), executor=executor, clock=clock)
        self._told: PortFolder | None = None
        if folders.sessions is not None:
            setting = f"data_exchange.stores.{name}.sessions"
            self._told = PortFolder(path=folders.sessions, setting=setting, port=name)
            self._telling = OneAtATime(executor, self._told, 60.0)
        self._claims: dict[bytes, Claim] = {}
        self._left: list[Claim] = []
        self._waited = False

    @property
    def place(self) -> str:
        """Return the day under which files are kept that are put away now."""
        return self._clock.now().date().isoformat()

    async def begin(self) -> None:
        """Begin a pass: make the folders that may be made, and find again what an earlier pass left claimed.

        Raises: AdapterUnavailable.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._make_folders)
        self._claims, self._waited = {}, False
        self._left = list(await self._adapter.recover())

    async def take(self, limit: int) -> Sequence[Given]:
        """Claim and read files that are ready. Raises: AdapterUnavailable."""
        claims, self._left = self._left[:limit], self._left[limit:]
        if not claims:
            claims = [claim for claim in await self._claim(limit) if claim.handle not in self._claims]
        self._claims = {claim.handle: claim for claim in claims}
        given = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, claims)
        if claims and not given:  # somebody else put all of them away
            return await self.take(limit)
        return given

    async def acknowledge(self, copies: Sequence[bytes]) -> None:
        """Keep the files where uploaded ones are kept. Raises: AdapterUnavailable."""
        await self._settle([(copy, None) for copy in copies], Settlement.ARCHIVE)

    async def drop(self, copies: Sequence[bytes]) -> None:
        """Remove files. Raises: AdapterUnavailable."""
        await self._settle([(copy, None) for copy in copies], Settlement.DELETE)

    async def refuse(self, refusals: Sequence[tuple[bytes, str]]) -> None:
        """Put files where refused ones are kept, with the reason beside each. Raises: AdapterUnavailable."""
        await self._settle(list(refusals), Settlement.QUARANTINE)

    async def purge(self, kept: Sequence[Kept]) -> None:
        """Remove uploaded files. Raises: AdapterUnavailable."""
        days: dict[str, list[bytes]] = {}
        for one in kept:
            if one.place is not None:
                days.setdefault(one.place, []).append(one.copy)
        for day, names in days.items():
            if await self._adapter.remove_archived(day, names) < len(names):  # put away just after midnight
                await self._adapter.remove_archived((date.fromisoformat(day) + timedelta(days=1)).isoformat(), names)

    def left(self) -> Sequence[str]:
        """Say which files were left in the folder, and why."""
        return [f"{one.display} was left in the folder. {one.text}" for one in self._adapter.skipped()]

    async def publish(self, sessions: Sequence[Told]) -> None:
        """Write a file per session, where there is a folder for them. Raises: AdapterUnavailable."""
        if self._told is not None:
            files = {_file_of(told.name): write_session(told) for told in sessions}
            await self._telling.run(partial(replace_files, self._told, files))

    async def withdraw(self, sessions: Sequence[SessionName]) -> None:
        """Remove the files of sessions. Raises: AdapterUnavailable."""
        if self._told is not None:
            await self._telling.run(partial(remove_files, self._told, [_file_of(name) for name in sessions]))

    async def _claim(self, limit: int) -> Sequence[Claim]:
        """Claim what is ready; a file that may be whole in a moment is waited for, once in a pass."""
        claims = await self._adapter.poll(limit)
        due = self._adapter.next_poll_seconds()
        if claims or self._waited or due is None or due > self._settle_seconds + _PATIENCE_SECONDS:
            return claims
        self._waited = True
        await asyncio.sleep(due)
        return await self._adapter.poll(limit)

    def _read(self, claims: Sequence[Claim]) -> list[Given]:
        with self._adapter.open() as open_claim:
            found: list[Given] = []
            for claim in claims:
                with suppress(LeaseLost):  # put away by another pass
                    found.append(self._read_one(claim, open_claim))
        return found

    def _read_one(self, claim: Claim, open_claim: Opener) -> Given:
        copy, name = claim.handle, claim.display
        try:
            with open_claim(claim) as fd:
                content = _content(fd)
            return Given(copy=copy, name=name, message=read_status_message(content))
        except (FileRefused, StatusMessageRefused) as refused:
            return Given(copy=copy, name=name, refusal=refused.message)
        except OSError as error:
            return Given(copy=copy, name=name, trouble=f"It cannot be read: {error.strerror or error}.")

    async def _settle(self, what: Sequence[tuple[bytes, str | None]], settlement: Settlement) -> None:
        await self._adapter.settle(
            [Settled(claim=self._claims[copy], settlement=settlement, reason=reason) for copy, reason in what]
        )

    def _make_folders(self) -> None:
        """Make our own folders, and the others where their parent is there: one that is missing may be a share."""
        folders = self._folders
        for folder in (folders.inbound, folders.work, folders.uploaded, folders.refused, folders.sessions):
            own = folder is not None and folder.is_relative_to(self._data)
            if folder is not None and (own or folder.parent.is_dir()):
                with suppress(OSError):  # told when it is used
                    refuse_foreign_link(folder)
                    partner = folder in (folders.inbound, folders.sessions)
                    folder.mkdir(mode=0o775 if partner else 0o700, parents=own, exist_ok=True)


def _content(fd: int) -> bytes:
    """Return a file, or as much of it as says that it is too large."""
    parts, size = [], 0
    while size <= MOST_BYTES and (part := os.read(fd, MOST_BYTES + 1 - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _file_of(name: SessionName) -> str:
    """Name the file of a session after its station, or after a digest where a file cannot have that name."""
    station = name.station if _PLAIN.fullmatch(name.station) else sha256(name.station.encode()).hexdigest()[:32]
    return f"{station}.{name.direction}.{name.number}.xml"
