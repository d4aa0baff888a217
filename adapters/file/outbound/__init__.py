"""From content to a file in a partner's folder: `adapter` calls `stage`, then, once the store promised, `publish`."""
