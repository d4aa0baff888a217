"""Why is this session where it is? What its station has to do next, or a person here."""

from typing import Final

from gateway.db.open import Store
from gateway.exchange import SessionDirection, SessionRow, SessionStatus, records
from gateway.explanations.facts import Explanation, at, quoted
from gateway.kernel.remedy import Action, Remedy

_WAITS: Final = {
    SessionStatus.STARTED: "It has started. The next message says that its package is available.",
    SessionStatus.AVAILABLE: "Its package is available, and was not fetched yet.",
    SessionStatus.REQUESTED: "Its station has asked for the package, and does not have it yet.",
    SessionStatus.DOWNLOADED: "Its station has the package, and has not applied it yet.",
    SessionStatus.UPLOADED: "Its package has arrived, and was not applied yet.",
}
_DONE: Final = {
    SessionStatus.APPLIED: "Its data were applied.",
    SessionStatus.NO_DATA: "There were no data to send.",
    SessionStatus.CANCELED: "It was canceled, and nothing that its station says changes that.",
}
_FAILED: Final = {
    SessionStatus.CREATE_FAILED: "Its package could not be made",
    SessionStatus.DOWNLOAD_FAILED: "Its station could not fetch the package",
    SessionStatus.UPLOAD_FAILED: "Its station could not send the package",
    SessionStatus.APPLY_FAILED: "Its data could not be applied",
}


async def explain_sessions(store: Store, text: str) -> list[Explanation]:
    """Explain the session `session:3`, or all that a station calls `STORE-12/7`; empty when there is none."""
    station, _, number = text.rpartition("session:" if text.startswith("session:") else "/")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        return []
    if text.startswith("session:"):
        one = await records.read_session(store, int(number))
        return [] if one is None else [_explain(one)]
    return [_explain(one) for one in await records.find_sessions(store, station, int(number))] if station else []


def _explain(session: SessionRow) -> Explanation:
    status, target = session.status, (str(session.id),)
    since = f" That is so since {at(session.status_at)}."
    said = f": {quoted(session.text)}" if session.text else ""
    match status:
        case SessionStatus.APPLIED | SessionStatus.NO_DATA | SessionStatus.CANCELED:
            why, remedy = _DONE[status] + since, Remedy(action=Action.NOTHING, reason="Nothing is to be done.")
        case SessionStatus.DOWNLOAD_FAILED | SessionStatus.UPLOAD_FAILED:
            why = f"{_FAILED[status]}{said}.{since}"
            remedy = Remedy(action=Action.NOTHING, reason="Its station tries again by itself.")
        case SessionStatus.CREATE_FAILED:
            why = f"{_FAILED[status]}{said}.{since}"
            remedy = Remedy(action=Action.RERUN_SESSION, target=target, reason="Mend the cause first.")
        case SessionStatus.APPLY_FAILED:
            why = f"{_FAILED[status]}{said}.{since}"
            remedy = Remedy(
                action=Action.CANCEL_SESSION, target=target,
                reason="Do so when the data are bad. A wrong configuration is mended, and the station tries again.",
            )  # fmt: skip
        case _:
            why = _WAITS[status] + since
            remedy = Remedy(
                action=Action.COPY_MESSAGES, reason="It copies what its station has said since; the job does so anyway."
            )
    way = "upload" if session.direction is SessionDirection.UPLOAD else "download"
    return Explanation(
        subject=f"session {session.id}, {way} {session.number} of {session.station}", code=f"session.{status}", why=why,
        remedies=(remedy,), messages=() if session.message is None else (session.message,),
    )  # fmt: skip
