"""Processes that do work nobody has to trust: how they start, in which cage, within which limits, how they talk.

A launcher, forked before the gateway has a loop or a connection, forks them on request. Each imports and loads all it
will ever need, then calls `cage.close`: from then on it computes, reads what was opened for it, and answers; nothing
else. Promised: none outlives the gateway, holds a descriptor it was not given, or reaches another process.

Read `cage` first, then `launcher` (the gateway's side) and `forking` (the other side). `link` is how they talk,
`limits` what they may use.
"""
