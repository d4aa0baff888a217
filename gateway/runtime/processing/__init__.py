"""Processing in processes of its own: code of other people never runs in the process that takes and sends files.

`worker` is what such a process does: it claims, performs and records by itself, with connections of its own. `workers`
is the gateway's side, the life of them all: how many there are, for which ports, and what follows when one ends.
`watch` looks at each: which one stands still or grows, and who is to blame. `handle` is what both hold of one. `stages`
makes of them what the scheduler runs. Read `workers` first.
"""
