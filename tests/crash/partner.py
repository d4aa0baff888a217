"""A partner who remembers everything: what was dropped, what came back, how often, and in which state."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from lxml import etree

from tests.documents import batch, envelope, guid, single
from tests.site import Site

PAUSE_SECONDS = 0.004


@dataclass
class Partner:
    """Drops requests and takes every answer away the moment it shows, so that nothing can be answered in place."""

    site: Site
    port: str = "orders"
    seed: object = 1
    conversations: int = 0
    """Half of the files belong to one of so many."""
    submitted: list[str] = field(default_factory=list)
    answered: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    """The key that each answered request got."""
    partial: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(str(self.seed))
        self._taken = self.site.folder / f"{self.port}-taken"
        self._taken.mkdir(exist_ok=True)
        self.taking = threading.Lock()
        """Held from the moment an answer is gone from its folder until it is written down."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take_away, name="partner", daemon=True)
        self._files = 0

    def __enter__(self) -> "Partner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def new_ids(self, count: int) -> list[str]:
        """Return new request ids, which count as submitted from now on."""
        ids = [guid(len(self.submitted) + n + 1) for n in range(count)]
        self.submitted += ids
        return ids

    def drop(self, files: int, *, most: int = 6, suffix: str = "") -> list[str]:
        """Drop files, single envelopes and batches of up to *most* requests, every id new; return their names."""
        names: list[str] = []
        for _ in range(files):
            self._files += 1
            ids = self.new_ids(self._random.randint(1, most))
            talk = f"talk-{self._random.randrange(self.conversations)}" if self._in_conversation() else ""
            if len(ids) > 1:
                members = [envelope(message_id=one) for one in ids]
                content = batch(members, f'ConversationId="{talk}"' if talk else "")
            else:
                header = f"<ConversationId>{talk}</ConversationId>" if talk else ""
                content = single(envelope(message_id=ids[0], header=header))
            names.append(f"file_{self._files:06}{suffix}.xml")
            self.site.drop(names[-1], content, self.port)
        return names

    def _in_conversation(self) -> bool:
        return self.conversations > 0 and self._random.random() < 0.5

    def _take_away(self) -> None:
        outbound = self.site.outbound(self.port)
        while not self._stop.is_set():
            if not self._take_once(outbound):
                self._stop.wait(PAUSE_SECONDS)
        self._take_once(outbound)

    def _take_once(self, outbound: Path) -> bool:
        found = False
        for path in list(outbound.iterdir()):
            found = True
            with self.taking:
                self._take(path)
        return found

    def _take(self, path: Path) -> None:
        target = self._taken / path.name
        content = path.read_bytes()
        path.rename(target)
        target.unlink()
        try:
            root = etree.fromstring(content)
        except etree.XMLSyntaxError:
            self.partial.append(path.name)
            return
        request = str(root.findtext("{*}Header/{*}RequestMessageId"))
        self.answered.setdefault(request, []).append(str(root.findtext("{*}Header/{*}MessageId")))
        value = root.findtext(".//{*}Value")
        if value is None:
            self.faults.append(f"{request}: {root.findtext('.//{*}Code')}: {root.findtext('.//{*}Text')}")
        else:
            self.values[request] = value

    @property
    def complete(self) -> bool:
        """True when every request has at least one answer."""
        return len(self.answered) >= len(self.submitted)

    def verdict(self) -> dict[str, int]:
        """Count what must be zero."""
        return {
            "lost": len(set(self.submitted) - set(self.answered)),
            "twice": sum(len(ids) > 1 for ids in self.answered.values()),
            "phantom": len(set(self.answered) - set(self.submitted)),
            "partial": len(self.partial),
            "faults": len(self.faults),
        }


NOTHING = {"lost": 0, "twice": 0, "phantom": 0, "partial": 0, "faults": 0}


def left_behind(site: Site, port: str = "orders") -> dict[str, list[str]]:
    """Return what lies in folders that must be empty when all is done.

    Not counted: the marker of the staging folder, and kept long names of claims that never came to be, which
    are removed when they are an hour old.
    """
    folders = {
        "inbound": [site.inbound(port)],
        "work": site.own_folders("work", port),
        "staging": site.own_folders("staging", port),
        "outbound": [site.outbound(port)],
    }
    names = {
        name: sorted(path.name for folder in those if folder.is_dir() for path in folder.iterdir())
        for name, those in folders.items()
    }
    names["staging"] = [name for name in names["staging"] if not name.startswith(".")]
    names["work"] = [name for name in names["work"] if not name.endswith(".name")]
    return {name: found for name, found in names.items() if found}
