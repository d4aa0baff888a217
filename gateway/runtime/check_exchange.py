"""Can status messages be copied? Folders of message stores, and jobs that copy what stations write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adapters.file import check as folders
from gateway.config.models import Settings
from gateway.config.models_exchange import STATUS_MESSAGES
from gateway.exchange import store_settings
from gateway.runtime.checked import Finding, Verdict

_HOW: Final = f"write a job with a task `run: {STATUS_MESSAGES}`, as docs/status-messages.md shows"


def check_exchange(settings: Settings, *, site: Path) -> Iterator[Finding]:
    """Yield what keeps the messages of a store from being copied; each store at least once.

    A database is not asked: the first run makes its tables.
    """
    copied = _copied(settings)
    for name, store in settings.data_exchange.stores.items():
        subject, path = f"store {name}", ("data_exchange", "stores", name)
        found: list[Finding] = []
        places = settings.store_folders(name)
        if places is not None:
            wrong = folders.check_receive(store_settings(name, store, places), reach=(site, settings.data))
            found += [
                Finding(
                    subject=subject, verdict=Verdict(one.severity.value), text=one.text,
                    path=tuple(one.setting.split(".")),
                )
                for one in dict.fromkeys(wrong)
            ]  # fmt: skip
        if None not in copied and name not in copied:
            text = f"no job copies its status messages: {_HOW}"
            found.append(Finding(subject=subject, verdict=Verdict.WARNING, text=text, path=path))
        text = "a database" if places is None else "its folders can be used"
        yield from found or [Finding(subject=subject, verdict=Verdict.OK, text=text)]


def _copied(settings: Settings) -> set[object]:
    """Return the stores that active jobs copy; None: all of them."""
    found: set[object] = set()
    for job in settings.jobs.values():
        for task in job.tasks.values():
            if job.active and task.run == STATUS_MESSAGES:
                named = task.parameters.get("stores")
                found |= set(named) if isinstance(named, list | tuple) and named else {None}
    return found
