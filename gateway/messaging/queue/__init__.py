"""The gateway queue in the store: lanes, leases, sets, ports, the exception log, what operators do to them."""
