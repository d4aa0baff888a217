"""What can go wrong, as one tree.

GatewayError              code (stable) and context (ids) for machines, message for people
  ConfigError             every problem at once, each with file, line and path; nothing starts
  TransientError          trying again may help
    StoreUnavailable      the database is away or answers too late
      StoreBusy           the database answers, and could not do it now
        StoreCrowded      all connections to it that we may open are at work
    AdapterUnavailable    a folder is missing, full or read-only
    OperationTimeout      an operation took longer than its limit
    TwinAtWork            a message with the same MessageId or content is in work
  FileRefused             the file as a whole cannot be taken; it goes to the error folder
  MessageError            one message cannot succeed unchanged
    MalformedMessage      its envelope or header breaks the rules
    SchemaViolation       its document breaks its schema
    UnknownAction         no such service operation, or not on this port
    NotAuthorized         submitter, company or partition is not allowed here
    DuplicateMessage      this MessageId was processed before
    OperationRejected     the service said no
    PoisonMessage         it ended the process that worked on it, too often to be run again
  SchemaUnusable          the schema of a document does not compile: the operator's trouble, not the partner's
  ServiceBroken           what a service made cannot be used: the operator's trouble, not the partner's
  TaskError               a task of a job came to no good end
    TaskRefused           it cannot be started as it is; trying again cannot help
    TaskFailed            what it ran says so
    FileNotKept           a file of a run has a bad name or is too large
  AlertRefused            an alert cannot be delivered; trying again cannot help
  LeaseLost               somebody else owns it now; our result is dropped
  IllegalTransition       a bug or an operator race; state unchanged
  JobRefused              a definition of a job, group or server that cannot be used; nothing was changed
  NoSuchJob               nothing has this number or name
  EntryRefused            a job queue entry that cannot be used, or does not exist; nothing was changed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.kernel.problem import Problem
from gateway.kernel.remedy import Remedy


class GatewayError(Exception):
    """Base of every error of ours: `code` and `context` are for machines, the text is for a person.

    `remedies` are what that person can do about it here, for front ends to put into words.
    """

    code = "gateway.error"
    remedies: tuple[Remedy, ...] = ()

    def __init__(self, message: str, *, code: str | None = None, **context: object) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.context: Mapping[str, object] = context

    def remedied(self, *remedies: Remedy) -> Self:
        """Return the error with what can be done about it."""
        self.remedies = remedies
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing wrong in a configuration: where it stands, what it is, what is allowed."""

    file: str
    line: int | None
    path: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


class ConfigError(GatewayError):
    """The configuration cannot be used; `problems` lists everything that is wrong."""

    code = "config.invalid"

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class TransientError(GatewayError):
    """Trying again may help."""

    code = "transient"


class StoreUnavailable(TransientError):
    """The database is away, restarting, or answers too late.

    `outcome_unknown` is True when a commit may or may not have taken effect: read the rows again to know.
    """

    code = "store.unavailable"

    def __init__(self, message: str, *, outcome_unknown: bool = False, **context: object) -> None:
        super().__init__(message, code=None, **context)
        self.outcome_unknown = outcome_unknown


class StoreBusy(StoreUnavailable):
    """The database answers, and could not do it now: full, out of memory, undone for another's work, too slow.

    `everywhere` is True when that stands in the way of all work, and not just of this piece.
    """

    code = "store.busy"

    def __init__(
        self, message: str, *, everywhere: bool = False, outcome_unknown: bool = False, **context: object
    ) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown, **context)
        self.everywhere = everywhere


class StoreCrowded(StoreBusy):
    """All connections that this process may have to the database are at work: nothing is wrong with the database."""

    code = "store.crowded"


class AdapterUnavailable(TransientError):
    """An address of a port cannot be used now: missing, full, read-only or not permitted."""

    code = "address.unavailable"


class OperationTimeout(TransientError):
    """A service operation took longer than its limit."""

    code = "operation.timeout"


class TwinAtWork(TransientError):
    """What has the same MessageId or the same content is in work: whether this is a duplicate is known after it."""

    code = "message.twin"


class FileRefused(GatewayError):
    """The file as a whole cannot be taken; nothing of it takes effect.

    `line` and `column` count from 1 in the partner's file, None when no place can be named.
    """

    code = "file.refused"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        line: int | None = None,
        column: int | None = None,
        **context: object,
    ) -> None:
        super().__init__(message, code=code, **context)
        self.line = line
        self.column = column

    @property
    def size(self) -> int | None:
        """Return the bytes of the file when it was read, None when nobody looked."""
        size = self.context.get("size")
        return size if isinstance(size, int) else None

    @property
    def sha256(self) -> bytes | None:
        """Return the digest of the file's bytes, None when it was not read to its end."""
        digest = self.context.get("sha256")
        return bytes.fromhex(digest) if isinstance(digest, str) else None


class MessageError(GatewayError):
    """One message cannot succeed unchanged; its neighbours are not touched.

    `problems` holds the details a partner can act on, at most twenty.
    """

    code = "message.error"
    fault_code = "RequestFailed"

    def __init__(
        self, message: str, *, code: str | None = None, problems: Sequence[Problem] = (), **context: object
    ) -> None:
        super().__init__(message, code=code, **context)
        self.problems = tuple(problems)


class MalformedMessage(MessageError):
    """Envelope or header break the rules of the message schema."""

    code = "message.malformed"
    fault_code = "MalformedMessage"


class SchemaViolation(MessageError):
    """The document breaks its schema."""

    code = "schema"
    fault_code = "SchemaValidation"


class UnknownAction(MessageError):
    """No such service operation, or the port does not expose it."""

    code = "action.not-allowed"
    fault_code = "UnknownAction"


class NotAuthorized(MessageError):
    """Submitter, company or partition is not allowed on this port."""

    code = "not-authorized"
    fault_code = "NotAuthorized"


class DuplicateMessage(MessageError):
    """This MessageId was processed before by the same service on the same port."""

    code = "message.duplicate"
    fault_code = "DuplicateMessage"


class OperationRejected(MessageError):
    """The service understood the request and said no; its text is meant for the partner."""

    code = "operation.rejected"


class SchemaUnusable(GatewayError):
    """The schema of a document cannot be used, so it cannot be judged: for the operator, never for the partner."""

    code = "schema.unusable"


class ServiceBroken(GatewayError):
    """What a service made cannot be sent or kept: for the operator; the partner hears only that the request failed."""

    code = "operation.broken"


class TaskError(GatewayError):
    """A task of a job came to no good end."""

    code = "task.error"


class TaskRefused(TaskError):
    """The task cannot be started as it is; trying again cannot help, so it uses none of its retries.

    Codes: `task.unknown` (no such runnable), `task.unpack` (its parameters cannot be read), `task.spawn`,
    `identity` (its account is disabled or unknown), `company` (its company or partition does not exist).
    """

    code = "task.refused"


class TaskFailed(TaskError):
    """What the task ran says that it failed: an exit code, a status, an error of a statement."""

    code = "task.failed"


class FileNotKept(TaskError):
    """A file of a run has a name that is not allowed, or is larger than allowed."""

    code = "file.not-kept"


class PoisonMessage(MessageError):
    """The process that worked on it ended, too often to run it again; the text is for an operator."""

    code = "poison"


class AlertRefused(GatewayError):
    """An alert cannot be delivered, and trying again cannot help; the text says what somebody can do."""

    code = "alert.refused"


class LeaseLost(GatewayError):
    """Somebody else owns this work now; the result must be dropped."""

    code = "lease.lost"


class IllegalTransition(GatewayError):
    """The state does not allow this step; nothing was changed."""

    code = "transition.illegal"


class JobRefused(GatewayError):
    """A definition cannot be used as it is; nothing was changed."""

    code = "job.refused"


class RecurrenceError(JobRefused):
    """A recurrence cannot be read, or can never start anything; the text says what is allowed instead."""

    code = "job.recurrence"


class NoSuchJob(GatewayError):
    """No job, run or task has this number or name."""

    code = "job.unknown"


class EntryRefused(GatewayError):
    """A job queue entry that cannot be used as it is, or does not exist; nothing was changed."""

    code = "entry.refused"
