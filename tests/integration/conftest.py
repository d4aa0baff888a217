"""What every test on a real database needs."""

import pytest

from gateway.db import connect
from gateway.messaging.queue import leases


@pytest.fixture(autouse=True)
def patient_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sessions wait longer for locks, and for their clients, than those of a gateway do.

    A test that holds a lock until it has seen somebody wait for it may be kept waiting by a busy machine.
    """
    monkeypatch.setitem(connect.SETTINGS, "lock_timeout", "1min")  # type: ignore[arg-type]  # it is a dict
    monkeypatch.setitem(connect.SETTINGS, "idle_in_transaction_session_timeout", "2min")  # type: ignore[arg-type]
    monkeypatch.setattr(leases, "IDLE_TIMEOUT", "2min")
    monkeypatch.setattr(leases, "TURN_TIMEOUT", "1min")
