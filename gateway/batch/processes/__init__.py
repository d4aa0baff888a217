"""Tasks that run code of the users, each in a process of its own: `process` is its parent's side, `inside` its own."""
