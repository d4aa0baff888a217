"""Event-driven runs: the gateway's own job, whose tasks stream for as long as it is armed."""
