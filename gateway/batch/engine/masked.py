"""The log of a task, without what must not be shown."""

from dataclasses import dataclass

from gateway.contracts.task import Mask, RunLog


@dataclass(frozen=True, slots=True)
class MaskedLog:
    """Lines go through a mask, whole, before the log below cuts them (`gateway.contracts.task.RunLog`)."""

    below: RunLog
    mask: Mask

    def info(self, text: str) -> None:
        """Say what was done."""
        self.below.info(self.mask(text))

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        self.below.warning(self.mask(text))

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self.below.error(self.mask(text))
