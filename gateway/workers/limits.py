"""What a process may use: memory, processor, files; and what it leaves behind when it crashes."""

import resource


def forbid_core_dumps() -> None:
    """Let neither this process nor those it starts leave its memory on the disk: documents and secrets are in it."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    # 1, not 0: a program that the system hands dumps to gets them whatever the limit is, but for this one number
    limit = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
