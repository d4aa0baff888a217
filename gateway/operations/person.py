"""The names under which who asks was known."""

from gateway.operations.principal import NotAllowed, Principal, known_account

__all__ = ["NotAllowed", "Principal", "known_account"]
