"""Why does this job queue entry not run, or how did it end?"""

from datetime import datetime
from typing import Final

from gateway.contracts.task import UNPACK
from gateway.explanations.facts import Explanation, at, quoted
from gateway.kernel.errors import GatewayError
from gateway.kernel.remedy import Action, Remedy
from gateway.operations.entries import EntryRow, entry_row, find_entry
from gateway.operations.principal import OperatorSession
from gateway.queues import EntryStatus, KeptBy

_PREFIX: Final = "entry:"
_NOTHING: Final = Remedy(action=Action.NOTHING, reason="It goes on by itself.")


async def explain_entry(session: OperatorSession, text: str, *, running: bool) -> list[Explanation]:
    """Explain the entry of this name, or of the number in `entry:17`; empty when there is none."""
    named = text.removeprefix(_PREFIX)
    if text == named and text.isdecimal():
        return []  # a bare number is a message's or a run's
    try:
        entry = await find_entry(session, named)
    except GatewayError:
        return []
    return [_explain(entry_row(entry), running=running)]


def _explain(row: EntryRow, *, running: bool) -> Explanation:
    target = row.name or str(row.id)

    def said(code: str, why: str, *remedies: Remedy, until: datetime | None = None) -> Explanation:
        subject = f"entry {row.id}{f' ({row.name})' if row.name else ''} of the job queue"
        return Explanation(
            subject=subject, code=f"entry.{code}", why=why, remedies=remedies or (_NOTHING,), until=until
        )

    ready = Remedy(action=Action.READY_ENTRY, target=(target,), reason="It runs when it is due, as you.")
    hold = Remedy(action=Action.HOLD_ENTRY, target=(target,), reason="Then it can be changed.")
    match row.status:
        case EntryStatus.ON_HOLD:
            return said("on-hold", "It is on hold and does not run.", ready)
        case EntryStatus.ERROR if row.error_code == UNPACK:
            edit = Remedy(action=Action.EDIT_ENTRY, target=(target,), reason="Give it parameters that fit.")
            return said("unpack", f"Its parameters do not fit what it runs. {quoted(row.error)}.", hold, edit, ready)
        case EntryStatus.ERROR:
            restart = Remedy(
                action=Action.RESTART_ENTRY, target=(target,), reason="Mend the cause first; it runs at once, as you."
            )
            return said("failed", f"Its attempts are used up. The last error: {quoted(row.error)}.", restart)
        case EntryStatus.FINISHED:
            return said("finished", "It is done, and does not repeat.", ready)
        case EntryStatus.IN_PROCESS:
            return said("in-process", f"Its run {row.run_id} is under way since {at(row.started_at)}.")
        case EntryStatus.WAITING | EntryStatus.READY | EntryStatus.INACTIVE if row.kept_by is KeptBy.STOPPED:
            start = Remedy(
                action=Action.START_QUEUE, target=(row.queue or "",), reason="Its entries run when they are due."
            )
            return said("queue-stopped", f"The job queue {row.queue} that takes it is stopped.", start)
        case EntryStatus.WAITING | EntryStatus.READY | EntryStatus.INACTIVE if row.kept_by is KeptBy.NO_QUEUE:
            what = f"the category {row.category}" if row.category else "entries without a category"
            why = f"The job queue {row.last_queue} took it. Now no job queue takes {what}, so it waits."
            return said(
                "no-queue", why,
                Remedy(action=Action.MEND, reason=f"Let a job queue of the configuration take {what}."),
                hold,
                Remedy(action=Action.EDIT_ENTRY, target=(target,), reason="Give it another category."),
                Remedy(action=Action.READY_ENTRY, target=(target,), reason="It runs when it is due, without a queue."),
            )  # fmt: skip
        case EntryStatus.READY if row.kept_by is KeptBy.USER:
            why = (
                f"It is due, and {row.user} has as many entries in process as a user may have "
                "(`job_queues.limits.per_user`)."
            )
            return said("user-limit", why)
        case EntryStatus.WAITING:
            holder = f"entry {row.held_by} has its place" if row.held_by else "it is woken in a moment"
            return said("waiting", f"It is due, and of the category {row.category} {holder}.")
        case EntryStatus.INACTIVE:
            why = f"Its last run found nothing to do. It sleeps until there is new data, or {at(row.next_start)}."
            return said("inactive", why, until=row.next_start)
        case EntryStatus.READY:
            pass
    if not running:
        start = Remedy(action=Action.START_GATEWAY, reason="It starts what is due.")
        return said("ready", f"It is to start at {at(row.next_start)}, and no gateway runs on this store.", start)
    failed = f" Attempt {row.attempts} failed: {quoted(row.error)}." if row.error else ""
    return said(
        "ready", f"It starts at {at(row.next_start)}, or in its window after that.{failed}", until=row.next_start
    )
