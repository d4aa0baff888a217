"""Put files into an inbound folder the way partners should: complete before they are visible. And wait for answers."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from adapters.file.folder import Folder, open_checked, opened
from adapters.file.linux import rename_new
from adapters.file.names import DONE_SUFFIX, matcher, parse_work_name
from gateway.config.models import InboundPort, SendFolders, Settings
from gateway.config.models_ports import Receive
from gateway.db.open import Store
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.kernel.ids import PortName
from gateway.operations.messages import document_text
from gateway.operations.reads.gateway import find_delivery
from gateway.operations.reads.messages import FileProgress, answers_to_file, progress_of_file
from gateway.operations.references import require_port
from gateway.operations.statements.admin_sql import AnswerRow, DeliveryRow

POLL_SECONDS: Final = 0.1
_MOST_NAMES: Final = 1000


class NotAccepted(GatewayError):
    """A file that the port would not take is not put there."""

    code = "submit.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A file that lies in the inbound folder now, under a name of its own."""

    source: Path
    port: PortName
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response or fault. `path` is where it was put; `text` its content, None when it is kept nowhere.

    Where the port keeps documents there is a text also when the partner took the file already.
    """

    position: int
    request_message_id: UUID
    message_id: UUID
    is_fault: bool
    outcome: str | None
    path: Path | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What became of a submitted file; `delivery` is None and `done` False when the time was over first."""

    submission: Submission
    delivery: DeliveryRow | None
    progress: FileProgress | None
    answers: Sequence[Answer]
    done: bool

    @property
    def good(self) -> bool:
        """True when every request of the file succeeded."""
        return self.done and self.progress is not None and self.progress.stuck == 0 and not self._faulty

    @property
    def _faulty(self) -> bool:
        return any(answer.is_fault for answer in self.answers)


def check_target(settings: Settings, port: str) -> tuple[PortName, Receive]:
    """Return the port that files may be submitted to, and how it takes them.

    Raises: NotFound for an unknown port, NotAccepted for an inactive or an outbound one.
    """
    name = require_port(settings, port)
    found = settings.ports[name]
    if not isinstance(found, InboundPort):
        raise NotAccepted(f"the port {name} is outbound: it takes no files")
    if not found.active:
        raise NotAccepted(f"the port {name} is not active: its folders are left alone")
    return name, found.receive


def place_file(port: PortName, receive: Receive, source: Path, *, avoid: Collection[str] = ()) -> Submission:
    """Copy *source* into the inbound folder under a hidden name, make it durable, rename it; blocks.

    Rule: the file keeps its name, without the claim that we put before it; when that is taken or in *avoid*, a number
    is added. Nothing is ever overwritten.
    Raises: NotAccepted when the port takes no file of this name; AdapterUnavailable when the folder cannot be used.
    """
    if not matcher(receive.pattern)(os.fsencode(_own_name(source).name)):
        raise NotAccepted(
            f"the port {port} takes files named {receive.pattern} that are not hidden or temporary, not {source.name!a}"
        )
    if not source.is_file():
        raise NotAccepted(f"{source} is not a file")
    try:
        with opened(receive.folder) as folder:
            target = _copy_in(source, folder, avoid)
            if receive.done_marker:
                os.close(_create(folder, os.fsencode(target.name) + DONE_SUFFIX))
    except OSError as error:
        hint = "; the gateway makes it when it starts" if not receive.folder.exists() else ""
        raise AdapterUnavailable(
            f"{source} cannot be put into {receive.folder}: {error.strerror or error}{hint}", port=port
        ) from error
    return Submission(source=source, port=port, target=target)


async def wait_for_answers(
    store: Store, settings: Settings, submission: Submission, *, since: datetime, seconds: float, limit: int = 1000
) -> Reception:
    """Wait until everything that came of a file is finished or needs an operator, at most *seconds*.

    *since* is the database's clock before the file was submitted; at most *limit* answers are returned.
    """
    name = os.fsencode(submission.target.name)
    delivery: DeliveryRow | None = None
    progress: FileProgress | None = None
    try:
        async with asyncio.timeout(seconds):
            while progress is None or not progress.settled:
                delivery = delivery or await find_delivery(store, submission.port, name, since)
                progress = None if delivery is None else await progress_of_file(store, delivery.claim_id)
                if progress is None or not progress.settled:
                    await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        done = False
    else:
        done = True
    rows = [] if delivery is None else await answers_to_file(store, delivery.claim_id, limit=limit)
    folders = settings.port_folders(submission.port).send
    answers = await asyncio.to_thread(lambda: [_answer(row, folders) for row in rows])
    return Reception(submission=submission, delivery=delivery, progress=progress, answers=answers, done=done)


def _answer(row: AnswerRow, folders: SendFolders | None) -> Answer:
    folder = None if folders is None else folders.faults if row.is_fault else folders.outbound
    path = folder / row.file_name if folder is not None and row.file_name and row.outcome == "sent" else None
    content = row.content
    if content is None and path is not None:
        # the folder is its partner's, who may have put something else there: what is no file is not followed
        with suppress(OSError), opened(path.parent) as place, open_checked(place, os.fsencode(path.name)) as (fd, _):
            content = Path(f"/proc/self/fd/{fd}").read_bytes()
    return Answer(
        position=row.position,
        request_message_id=row.request_message_id,
        message_id=row.message_id,
        is_fault=row.is_fault,
        outcome=row.outcome,
        path=path,
        text=document_text(content),
    )


def _copy_in(source: Path, folder: Folder, avoid: Collection[str]) -> Path:
    hidden = f".{secrets.token_hex(8)}.part".encode()
    try:
        with source.open("rb") as reading, os.fdopen(_create(folder, hidden), "wb") as writing:
            shutil.copyfileobj(reading, writing, 1_000_000)
            writing.flush()
            os.fsync(writing.fileno())
        return _publish(folder, hidden, [name for name in _names(_own_name(source)) if name not in avoid])
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(hidden, dir_fd=folder.fd)
        raise


def _create(folder: Folder, name: bytes) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder.fd)


def _publish(folder: Folder, hidden: bytes, names: Sequence[str]) -> Path:
    """Give a complete file the first free name, durably."""
    for name in names:
        try:
            rename_new(hidden, folder.fd, os.fsencode(name), folder.fd)
        except FileExistsError:
            continue
        os.fsync(folder.fd)
        return folder.path / name
    raise FileExistsError(f"{_MOST_NAMES} files of this name are there already")


def _own_name(source: Path) -> Path:
    """Return the name that a partner gave a file which lies in our error folder or archive; else its own."""
    claimed = parse_work_name(os.fsencode(source.name))
    return Path(os.fsdecode(claimed[1])) if claimed and claimed[2] else Path(source.name)


def _names(name: Path) -> Iterator[str]:
    yield name.name
    for number in range(2, _MOST_NAMES):
        yield f"{name.stem}-{number}{name.suffix}"
