"""A partner who remembers everything: what was dropped, what came back, how often, and in which state."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from lxml import etree

from tests.documents import batch, envelope, guid, single
from tests.site import Site


@dataclass
class Partner:
    """Drops requests and takes every answer away the moment it shows, so that nothing can be answered in place."""

    site: Site
    port: str = "orders"
    seed: int = 1
    submitted: list[str] = field(default_factory=list)
    answered: dict[str, list[str]] = field(default_factory=dict)
    partial: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._taken = self.site.folder / f"{self.port}-taken"
        self._taken.mkdir(exist_ok=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take_away, name="partner", daemon=True)
        self._files = 0

    def __enter__(self) -> "Partner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def drop(self, files: int, *, most: int = 6) -> None:
        """Drop *files* files: single envelopes and batches of up to *most* requests, every id new."""
        for _ in range(files):
            self._files += 1
            count = self._random.randint(1, most)
            ids = [guid(len(self.submitted) + n + 1) for n in range(count)]
            self.submitted += ids
            members = [envelope(message_id=one) for one in ids]
            content = single(members[0]) if count == 1 else batch(members)
            self.site.drop(f"file_{self._files:06}.xml", content, self.port)

    def _take_away(self) -> None:
        outbound = self.site.outbound(self.port)
        while not self._stop.is_set():
            if not self._take_once(outbound):
                self._stop.wait(0.002)
        self._take_once(outbound)

    def _take_once(self, outbound: Path) -> bool:
        found = False
        for path in list(outbound.iterdir()):
            found = True
            target = self._taken / f"{len(list(self.answered))}-{path.name}"
            content = path.read_bytes()
            path.rename(target)
            try:
                root = etree.fromstring(content)
            except etree.XMLSyntaxError:
                self.partial.append(path.name)
                continue
            request = str(root.findtext("{*}Header/{*}RequestMessageId"))
            self.answered.setdefault(request, []).append(str(root.findtext("{*}Header/{*}MessageId")))
            target.unlink()
        return found

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
        }


NOTHING = {"lost": 0, "twice": 0, "phantom": 0, "partial": 0}


def left_behind(site: Site, port: str = "orders") -> dict[str, list[str]]:
    """Return what lies in folders that must be empty when all is done."""
    folders = {
        "inbound": site.inbound(port),
        "work": site.data / "work" / port,
        "staging": site.data / "staging" / port,
        "outbound": site.outbound(port),
    }
    names = {name: sorted(p.name for p in folder.iterdir()) for name, folder in folders.items()}
    names["staging"] = [name for name in names["staging"] if not name.startswith(".")]  # the marker of the folder
    return {name: found for name, found in names.items() if found}
