"""The send adapter for folders: each response appears in the outbound folder whole, once, and never over another.

Source: rulings, "Responses"; reliability reference 5.3, steps S1 to S5.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from adapters.file.fsops import FileOps
from adapters.file.identity import FolderIdentities
from adapters.file.offload import OneAtATime
from adapters.file.outbound.publish import publish_files
from adapters.file.outbound.stage import (
    OTHER_STAGING,
    Results,
    discard_files,
    identity_of_staging,
    probe_folders,
    stage_files,
    staged_names,
)
from adapters.file.settings import FileSendSettings
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.messaging.rules.delivery import OutgoingFile, Promise, StagingPlace


class FileSendAdapter:
    """Delivers files to one outbound folder (`gateway.contracts.adapter.SendAdapter`).

    All disk work runs in *executor*: one thread stages while another publishes, whole groups at a time, because
    one hop to a thread costs more than one small file. *identities* are shared by all ports of the process.
    """

    def __init__(
        self,
        settings: FileSendSettings,
        *,
        executor: Executor,
        ops: FileOps | None = None,
        identities: FolderIdentities | None = None,
    ) -> None:
        self._settings = settings
        self._identities = identities or FolderIdentities()
        self._ops = ops or FileOps()
        self._place: StagingPlace | None = None
        self._staging = OneAtATime(executor, settings.staging, settings.io_seconds)
        self._publishing = OneAtATime(executor, settings.outbound, settings.io_seconds)

    async def place(self) -> StagingPlace:
        """Return the staging folder with its identity, as of the first use. Raises: AdapterUnavailable."""
        if self._place is None:
            identity = await self._staging.run(partial(identity_of_staging, self._ops, self._settings))
            self._place = StagingPlace(id=identity, where=str(self._settings.staging.path))
        return self._place

    async def probe(self) -> None:
        """Look whether both folders can be written to. Raises: AdapterUnavailable."""
        await self._publishing.run(partial(probe_folders, self._settings))

    async def stage(self, files: Sequence[OutgoingFile]) -> Sequence[GatewayError | None]:
        """Write files to the staging folder and make them durable; one entry per file, None when it is."""
        identity = None if self._place is None else self._place.id
        work = partial(stage_files, self._ops, self._settings, files, identity)
        return self._noticed(await _each(self._staging, work, len(files)))

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        """Show promised files to the partner; one entry per promise, None when it is published for good."""
        work = partial(publish_files, self._ops, self._settings, promises, self._identities)
        return self._noticed(await _each(self._publishing, work, len(promises)))

    async def discard(self, staged_names: Sequence[str]) -> None:
        """Remove staged files that no promise names. Raises: AdapterUnavailable."""
        if staged_names:
            await self._staging.run(partial(discard_files, self._ops, self._settings, staged_names))

    async def recover(self) -> Sequence[str]:
        """Return the names in the staging folder, sorted. Raises: AdapterUnavailable."""
        return await self._staging.run(partial(staged_names, self._settings))

    def _noticed(self, results: Results) -> Results:
        """Ask the folder anew for its identity once it has turned out to be another one."""
        if any(error is not None and error.code == OTHER_STAGING for error in results):
            self._place = None
        return results


async def _each(turn: OneAtATime, work: Callable[[], Results], count: int) -> Results:
    """Return one entry per file also when the folder as a whole cannot be used."""
    if count == 0:
        return []
    try:
        return await turn.run(work)
    except AdapterUnavailable as error:
        return [error] * count
