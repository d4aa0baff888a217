"""What a command writes: its first lines go into the log of the run, all of it into a file when there is more."""

from gateway.contracts.task import TaskContext

LOGGED_LINES = 200
FILE = "output.txt"


class TooMuchOutput(Exception):
    """The command wrote more than it may."""


class Output:
    """Takes bytes as they come. Lines longer than the log allows are cut there, and whole in the file."""

    def __init__(self, context: TaskContext, most_bytes: int) -> None:
        self._context = context
        self._most_bytes = most_bytes
        self._all = bytearray()
        self._logged = 0
        self._begun = 0  # where the line begins that is not logged yet

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises: TooMuchOutput."""
        room = self._most_bytes - len(self._all)
        self._all += data[:room]
        while (end := self._all.find(b"\n", self._begun)) != -1:
            self._log(end)
            self._begun = end + 1
        if len(data) > room:
            raise TooMuchOutput

    def _log(self, end: int) -> None:
        if self._logged < LOGGED_LINES:
            self._context.log.info(self._all[self._begun : end].decode(errors="replace").rstrip("\r"))
        self._logged += 1

    async def close(self) -> None:
        """Log the line that no line end came for, and keep the whole when the log does not have it."""
        if self._begun < len(self._all):
            self._log(len(self._all))
            self._begun = len(self._all)
        if self._logged > LOGGED_LINES:
            more = self._logged - LOGGED_LINES
            self._context.log.info(f"… and {more} more lines: the file {FILE} of this run has all of them.")
            whole = self._context.mask(self._all.decode(errors="surrogateescape"))
            await self._context.keep_file(FILE, whole.encode(errors="surrogateescape"))
