"""Publishing: what the store has promised is shown to the partner by one rename.

The absence of a promised staged file is the proof that it was published; so nothing here ever removes a
promised file but the rename, and absence is only believed in the very folder the file was staged in.
Everything blocks and runs in one thread. Source: reliability reference 5.3, steps S3 and S4.
"""

import os
from collections.abc import Sequence
from uuid import UUID

from adapters.file.errors import PortFolder, unavailable
from adapters.file.folder import Folder
from adapters.file.fsops import FileOps
from adapters.file.identity import FolderIdentities
from adapters.file.outbound.stage import Results, marked_as, name_taken, other_staging
from adapters.file.settings import FileSendSettings
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.messaging.rules.delivery import Promise


def publish_files(
    ops: FileOps, settings: FileSendSettings, promises: Sequence[Promise], identities: FolderIdentities
) -> Results:
    """Rename promised files to their final names, then flush the folders; what is gone was published before.

    Folders are flushed for those as well: the process that renamed them may have died before its flush.
    """
    results: Results = [None] * len(promises)
    places = [settings.target(promise.final_name) for promise in promises]
    with settings.staging.opened() as staging:
        for place in sorted(set(places), key=lambda each: each.path):
            numbers = [number for number, its in enumerate(places) if its == place]
            try:
                with identities.opened(place, inbound=False, other=settings.staging) as target:
                    for number in numbers:
                        results[number] = _publish(ops, settings, staging, target, place, promises[number])
                    if any(results[number] is None for number in numbers):
                        # before the staging folder: what has gone from staging for good must be published for good
                        ops.flush_folder(target, "publish.outbound")
            except AdapterUnavailable as error:
                for number in numbers:
                    results[number] = results[number] or error
        if None in results:
            ops.flush_folder(staging, "publish.staging")
    return results


def _publish(
    ops: FileOps, settings: FileSendSettings, staging: Folder, target: Folder, place: PortFolder, promise: Promise
) -> GatewayError | None:
    try:
        if ops.publish(staging, promise.staged_name.encode(), target, promise.final_name.encode()):
            return None
        if not _absence_counts(staging, target, promise.staging):
            return other_staging(settings, promise.final_name)
    except FileExistsError:
        return name_taken(place, promise.final_name)
    except OSError as error:
        return unavailable(error, place, settings.staging)
    return None


def _absence_counts(staging: Folder, target: Folder, identity: UUID | None) -> bool:
    """Return whether a missing staged file proves anything: this is the folder that it was staged in.

    A staging file system that is not mounted, or another node's, looks like a folder where everything was published.
    """
    marked = marked_as(staging)
    same = os.fstat(staging.fd).st_dev == os.fstat(target.fd).st_dev
    return same and marked is not None and identity in (marked, None)
