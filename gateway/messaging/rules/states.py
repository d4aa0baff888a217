"""The states of the gateway queue, as the database checks them."""

from enum import StrEnum


class Direction(StrEnum):
    """Which way a message goes."""

    IN = "in"
    OUT = "out"


class Stage(StrEnum):
    """The four services, in the order in which they feed one another.

    Source: AIF reference, section 27.
    """

    RECEIVE = "receive"  # files become queued requests
    INBOUND = "inbound"  # queued requests become responses
    OUTBOUND = "outbound"  # send requests become messages
    SEND = "send"  # responses and messages become files


class Status(StrEnum):
    """Where a queued message stands. There is no "done": finished rows leave the queue.

    Source: AIF reference, section 22.1.
    """

    READY = "ready"  # waiting for the next processing or send
    IN_PROCESS = "in_process"  # inbound: taken by inbound processing
    HOLD = "hold"  # parked by an operator or by the error policy of its set
    ERROR = "error"  # failed; the exception log says why
    IN_TRANSPORT = "in_transport"  # outbound: taken by the send stage
    MALFORMED = "malformed"  # the file could not be read as messages


class Reason(StrEnum):
    """Why a message is where it is; every row has exactly one."""

    READY = "ready"  # nothing is in its way
    BEHIND_IN_LANE = "behind_in_lane"  # an earlier message of its lane comes first
    BACKOFF = "backoff"  # waits before it is tried again
    ADDRESS_UNAVAILABLE = "address_unavailable"  # the folder of its port cannot be used now
    RUNNING = "running"  # a worker holds its lease
    HELD_BY_OPERATOR = "held_by_operator"  # somebody parked it
    SET_HALTED = "set_halted"  # an earlier message of its set failed under Halt
    SET_ROLLED_BACK = "set_rolled_back"  # another message of its set failed under Rollback
    LANE_PARKED = "lane_parked"  # an earlier message of its lane failed, and the lane was put aside
    FAILED = "failed"  # cannot succeed unchanged, or tries are used up
    POISON = "poison"  # it ended the process that worked on it, twice
    MALFORMED = "malformed"  # no message could be read


class Policy(StrEnum):
    """What an error in a message set does to the rest of the set.

    Source: AIF reference, section 25; rulings, "Batches, lanes, policies".
    """

    CONTINUE = "continue"  # the others go on
    HALT = "halt"  # those before stay committed, those after are held
    ROLLBACK = "rollback"  # nothing of the set is committed


class SetStatus(StrEnum):
    """What a message is within its message set; follows from where it stands, and is stored nowhere.

    Source: AIF reference, sections 22.1 and 25.
    """

    NONE = "none"  # it belongs to no set
    READY = "ready"  # its turn is to come, or an operator parked it
    ERROR = "error"  # it failed
    SKIPPED = "skipped"  # another one failed, so it was not processed
    ROLLED_BACK = "rolled back"  # another one failed, so nothing of the set took effect
    COMPLETED = "completed"  # it was processed


def set_status(*, member: bool, reason: str | None, outcome: str | None) -> SetStatus:
    """Return what a message is within its set: *member* of one or not, by its reason in the queue or its outcome."""
    if not member:
        return SetStatus.NONE
    match reason:
        case Reason.FAILED | Reason.POISON:
            return SetStatus.ERROR
        case Reason.SET_HALTED:
            return SetStatus.SKIPPED
        case Reason.SET_ROLLED_BACK:
            return SetStatus.ROLLED_BACK
        case None:
            return SetStatus.COMPLETED if outcome == Outcome.PROCESSED else SetStatus.SKIPPED
        case _:
            return SetStatus.READY


class LaneRule(StrEnum):
    """What a failed message does to the messages behind it in its lane.

    Source: rulings, "Errors and lanes".
    """

    CONTINUE = "continue"  # nothing: the next one goes on
    BLOCK = "block"  # nothing passes it: it keeps its place until it is done, released or deleted
    PARK = "park"  # the lane is put aside: all others are held until an operator releases the lane


class OnDuplicate(StrEnum):
    """How a MessageId is answered that was processed before. Source: rulings, "Duplicates"."""

    FAULT = "fault"  # with the fault DuplicateMessage
    REPLAY = "replay"  # with the response it was answered with, in a new file


class Outcome(StrEnum):
    """How a message ended."""

    PROCESSED = "processed"  # inbound: its service operation succeeded
    SENT = "sent"  # outbound: its file was published
    DELETED = "deleted"  # an operator deleted it from the queue


class LoggingMode(StrEnum):
    """What history keeps of a finished message."""

    ORIGINAL = "original"  # its header and its document
    HEADER = "header"  # its header only
    OFF = "off"  # nothing; duplicates are then not noticed either


class PortState(StrEnum):
    """What a port says of itself; the worst counts."""

    OPEN = "open"  # it takes files, processes, and delivers
    PAUSED = "paused"  # intake waits: the queue or the disk is full
    DEGRADED = "degraded"  # a folder of it cannot be used
    STOPPED = "stopped"  # its work waits, because its services do not work or the database cannot do it
    INACTIVE = "inactive"  # switched off in the configuration
