"""Records, states and rules of the business: no I/O, no clock, no chance of their own."""
