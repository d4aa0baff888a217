"""Rules of the way of a message: pure, without clock, store or loop.

`shares` says whose turn it is and how much one port may hold, `pace` how many messages are worked on together.
"""
