"""Data exchange: sessions with stations and partners, and the status messages by which they tell how far each is.

A station writes messages into its message store, a database or a folder. A batch job copies them into the gateway's
own database, moves the sessions, acknowledges, purges both sides by the retention, and lets stations read how their
sessions stand. Promised: each message is stored once, whatever is killed when; a session never steps back; nothing is
removed that was not copied; what cannot be copied is set aside with its reason.

Read first: `rules/statuses.py` (what moves a session), `transfer.py` (one pass), `sources.py` (what a message store
is), `statements/sessions.sql`.
Source: batch reference, section 22; docs/status-messages.md.
"""

from gateway.exchange.folder import store_settings
from gateway.exchange.records import SessionFilter
from gateway.exchange.rules.statuses import FAILED, FINAL, SessionDirection, SessionStatus
from gateway.exchange.sources import MessageStoreAway, MessageStoreUnusable
from gateway.exchange.statements.sessions_sql import MessageStoreRow, SessionRow, StatusMessageRow, TroubleRow
from gateway.exchange.stores import MessageStores

__all__ = [
    "FAILED",
    "FINAL",
    "MessageStoreAway",
    "MessageStoreRow",
    "MessageStoreUnusable",
    "MessageStores",
    "SessionDirection",
    "SessionFilter",
    "SessionRow",
    "SessionStatus",
    "StatusMessageRow",
    "TroubleRow",
    "store_settings",
]
