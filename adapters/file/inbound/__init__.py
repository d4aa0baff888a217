"""From a partner's folder to a claimed file: `adapter` calls `claim`, which asks `sweep` and `ready`; then `settle`."""
