"""Folders of one port with a partner on the other side, a clock that only tests move, and a model of power loss."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.file import FileReceiveAdapter, FileReceiveSettings, FileSendAdapter, FileSendSettings, PortFolder, Probe
from adapters.file.fsops import FileOps, Operation
from adapters.file.identity import FolderIdentities
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import Claim, OutgoingFile, Promise, Settled, Settlement

PORT = PortName("orders")
WHOLE = b"<?xml version='1.0'?>\n<Batch><Envelope/></Batch>\n"
START = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def move(self, seconds: float) -> None:
        self.passed += seconds


def port_folder(path: Path, setting: str = "receive.folder", port: str = PORT) -> PortFolder:
    return PortFolder(path=path, setting=f"ports.{port}.{setting}", port=port)


def receive_settings(root: Path, port: PortName = PORT) -> FileReceiveSettings:
    """Return those of a port whose folders all lie under one root."""
    return FileReceiveSettings(
        port=port,
        inbound=port_folder(root / "inbound", "receive.folder", port),
        work=port_folder(root / "work", "receive.work", port),
        archive=port_folder(root / "archive", "receive.archive", port),
        error=port_folder(root / "error", "receive.error", port),
    )


def send_settings(root: Path) -> FileSendSettings:
    return FileSendSettings(
        port=PORT,
        outbound=port_folder(root / "outbound", "respond.folder"),
        staging=port_folder(root / "staging", "respond.staging"),
        group_setting=f"ports.{PORT}.respond.group",
    )


def _in_folders(settings: FileReceiveSettings | FileSendSettings, changes: Mapping[str, object]) -> dict[str, Any]:
    """Put paths among the changes into folders; of another port, the settings have the name of that port."""
    port = str(changes.get("port", settings.port))
    changed: dict[str, Any] = dict(changes)
    for name in ("inbound", "work", "archive", "error", "outbound", "staging", "faults"):
        folder = changes.get(name, getattr(settings, name, None))
        if isinstance(folder, Path):
            before = getattr(settings, name) or port_folder(folder, f"respond.{name}")
            folder = replace(before, path=folder)
        if isinstance(folder, PortFolder):
            changed[name] = replace(folder, setting=folder.setting.replace(settings.port, port), port=port)
    return changed


@dataclass
class Site:
    """All folders of a port under one root."""

    root: Path
    executor: Executor
    clock: FakeClock = field(default_factory=FakeClock)
    recorded: list[Operation] = field(default_factory=list)
    identities: FolderIdentities | None = None

    def __post_init__(self) -> None:
        for name in ("inbound", "work", "archive", "error", "outbound", "staging", "faults"):
            (self.root / name).mkdir(mode=0o700)
        self.inbound, self.work, self.archive, self.error, self.outbound, self.staging, self.faults = (
            self.root / name for name in ("inbound", "work", "archive", "error", "outbound", "staging", "faults")
        )
        self.receive_settings = receive_settings(self.root)
        self.send_settings = send_settings(self.root)

    def receiving(self, **changes: object) -> FileReceiveSettings:
        """Return the settings with changes; a path stands for the folder at it, under the same setting."""
        settings = self.receive_settings
        return replace(settings, **_in_folders(settings, changes))

    def sending(self, **changes: object) -> FileSendSettings:
        """Return the settings with changes; a path stands for the folder at it, under the same setting."""
        settings = self.send_settings
        return replace(settings, **_in_folders(settings, changes))

    def receiver(self, *, probe: Probe | None = None, **changes: object) -> FileReceiveAdapter:
        return FileReceiveAdapter(
            self.receiving(**changes), executor=self.executor, clock=self.clock, probe=probe,
            ops=FileOps(self.recorded.append), identities=self.identities,
        )  # fmt: skip

    def sender(self, **changes: object) -> FileSendAdapter:
        return FileSendAdapter(
            self.sending(**changes), executor=self.executor, ops=FileOps(self.recorded.append),
            identities=self.identities,
        )  # fmt: skip

    def drop(self, name: str | bytes, content: bytes = WHOLE) -> None:
        """Put a file into the inbound folder the right way: written elsewhere, then renamed in."""
        aside = os.fsencode(self.root / ".aside")
        with open(aside, "wb") as file:
            file.write(content)
        os.rename(aside, os.fsencode(self.inbound) + b"/" + os.fsencode(name))

    def inbound_names(self) -> list[bytes]:
        return sorted(os.listdir(os.fsencode(self.inbound)))


def names(claims: Iterable[Claim]) -> list[bytes]:
    return [claim.name for claim in claims]


def archived(claims: Iterable[Claim]) -> list[Settled]:
    return [Settled(claim=claim, settlement=Settlement.ARCHIVE) for claim in claims]


def quarantined(claim: Claim, reason: str = "It is broken.") -> Settled:
    return Settled(claim=claim, settlement=Settlement.QUARANTINE, reason=reason)


def outgoing(number: int, attempt: int = 1, content: bytes | None = None) -> OutgoingFile:
    return OutgoingFile(
        staged_name=f"{number}.{attempt}.tmp",
        final_name=f"answer.{number:06}.xml",
        content=b"<Envelope>%d</Envelope>" % number if content is None else content,
    )


def promise(file: OutgoingFile) -> Promise:
    return Promise(staged_name=file.staged_name, final_name=file.final_name)


def after_power_loss(operations: Sequence[Operation]) -> Iterator[dict[str, bool]]:
    """Yield every state a disk may be in when the power fails after *operations*: path to "content is whole".

    Pessimistic, after ALICE: content that was not flushed may be missing; changes of folders that were not
    flushed survive in any subset, one rename being one change; a rename counts as flushed when both folders were.
    """
    whole: set[str] = set()
    known: dict[str, str] = {}  # path to identity
    changes: list[tuple[Operation, set[str], str]] = []
    for operation in operations:
        match operation.op:
            case "create" | "mkdir":
                known[operation.path] = operation.path
                changes.append((operation, {_folder(operation.path)}, operation.path))
                if operation.op == "mkdir":
                    whole.add(operation.path)
            case "rename":
                assert operation.target is not None
                identity = known.pop(operation.path, operation.path)
                if identity == operation.path and not any(each[2] == identity for each in changes):
                    whole.add(identity)  # it was there, durable, before we began
                known[operation.target] = identity
                touched = {_folder(operation.path), _folder(operation.target)}
                changes.append((operation, touched, identity))
            case "unlink":
                identity = known.pop(operation.path, operation.path)
                changes.append((operation, {_folder(operation.path)}, identity))
            case "fsync":
                whole.add(known[operation.path])
            case "fsync_folder":
                for _, touched, _ in changes:
                    touched.discard(operation.path)
            case "syncfs":
                whole |= set(known.values())
                for _, touched, _ in changes:
                    touched.clear()
            case "write":
                whole.discard(known[operation.path])
            case other:
                raise AssertionError(f"unknown operation {other}")
    loose = [number for number, (_, touched, _) in enumerate(changes) if touched]
    for mask in range(1 << len(loose)):
        lost = {number for bit, number in enumerate(loose) if not mask >> bit & 1}
        yield _replayed(changes, lost, whole)


def _replayed(changes: Sequence[tuple[Operation, set[str], str]], lost: set[int], whole: set[str]) -> dict[str, bool]:
    state: dict[str, str] = {}
    for operation, _, identity in changes:
        if operation.op == "rename" and not any(each[0].op == "create" and each[2] == identity for each in changes):
            state.setdefault(identity, identity)
    for number, (operation, _, identity) in enumerate(changes):
        if number in lost:
            continue
        if operation.op in ("create", "mkdir"):
            state[operation.path] = identity
        elif operation.op == "unlink":
            state.pop(operation.path, None)
        elif operation.path in state:
            assert operation.target is not None
            state[operation.target] = state.pop(operation.path)
    return {path: identity in whole for path, identity in state.items()}


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
