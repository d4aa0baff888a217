"""The send adapter for folders: each response appears in the outbound folder whole, once, and never over another.

Source: rulings, "Responses"; reliability reference 5.3, steps S1 to S5.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from adapters.file.deliver import Results, discard_wave, publish_wave, stage_wave, staged_names
from adapters.file.fsops import FileOps
from adapters.file.offload import OneAtATime
from adapters.file.settings import FileSendSettings
from gateway.domain.delivery import Outgoing, Promise
from gateway.domain.errors import AdapterUnavailable, GatewayError


class FileSendAdapter:
    """Delivers files to one outbound folder (`gateway.contracts.adapter.SendAdapter`).

    All disk work runs in *executor*: one thread stages while another publishes, whole groups at a time, because
    one hop to a thread costs more than one small file.
    """

    def __init__(self, settings: FileSendSettings, *, executor: Executor, ops: FileOps | None = None) -> None:
        self._settings = settings
        self._ops = ops or FileOps()
        self._staging = OneAtATime(executor, settings.staging_place, settings.io_seconds)
        self._publishing = OneAtATime(executor, settings.outbound_place, settings.io_seconds)

    async def stage(self, files: Sequence[Outgoing]) -> Sequence[GatewayError | None]:
        """Write files to the staging folder and make them durable; one entry per file, None when it is."""
        work = partial(stage_wave, self._ops, self._settings, files)
        return await _each(self._staging, work, len(files))

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        """Show promised files to the partner; one entry per promise, None when it is published for good."""
        work = partial(publish_wave, self._ops, self._settings, promises)
        return await _each(self._publishing, work, len(promises))

    async def discard(self, staged_names: Sequence[str]) -> None:
        """Remove staged files that no promise names. Raises: AdapterUnavailable."""
        if staged_names:
            await self._staging.run(partial(discard_wave, self._ops, self._settings, staged_names))

    async def staged(self) -> Sequence[str]:
        """Return the names in the staging folder, sorted. Raises: AdapterUnavailable."""
        return await self._staging.run(partial(staged_names, self._settings))


async def _each(turn: OneAtATime, work: Callable[[], Results], count: int) -> Results:
    """Return one entry per file also when the folder as a whole cannot be used."""
    if count == 0:
        return []
    try:
        return await turn.run(work)
    except AdapterUnavailable as error:
        return [error] * count
