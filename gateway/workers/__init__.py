"""Processes that do work nobody has to trust: under which account, in which cage, within which limits.

A process imports and loads all it will ever need, then calls `cage.close`: from then on it computes, reads what was
opened for it, and answers; nothing else. Read `cage` first.
"""
