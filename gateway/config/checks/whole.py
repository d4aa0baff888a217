"""What all checks have in common: the sections they compare, and names that must exist."""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field

from gateway.config.document import Finding, Path
from gateway.config.models import Settings
from gateway.config.models_jobs import DEFAULT_GROUP
from gateway.config.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Whole:
    """Settings, as far as they are sound; `gone` are the paths of what stands in the file but is wrong in itself.

    Nothing is said about names of what is gone.
    """

    settings: Settings
    gone: Set[Path] = field(default_factory=frozenset)

    def unknown(self, path: Path, place: Path, name: str, known: Iterable[str]) -> Iterator[Finding]:
        """Say at *path* so when nothing at *place*, a mapping of the file, has this name."""
        names = sorted(known)
        if name in names or (*place, name) in self.gone or any(place[:n] in self.gone for n in range(len(place) + 1)):
            return
        what = str(place[-1])
        what = (f"{what.removesuffix('ies')}y" if what.endswith("ies") else what.removesuffix("s")).replace("_", " ")
        rest = f"; known are {', '.join(names)}" if names else f"; there are no {place[-1]}".replace("_", " ")
        yield Finding(path=path, text=f"there is no {what} {name!a}{did_you_mean(name, names) or rest}")

    def unknown_group(self, path: Path, name: str | None) -> Iterator[Finding]:
        """Say so when a batch group is named that is not there."""
        if name is not None:
            yield from self.unknown(path, ("groups",), name, {DEFAULT_GROUP, *self.settings.groups})

    def unfit_account(
        self,
        path: Path,
        name: str,
        *,
        partition: str | None = None,
        company: str | None = None,
        what: str | None = None,
    ) -> Iterator[Finding]:
        """Say so when an account is not listed where accounts are, or could not run *what* in its company."""
        settings = self.settings
        if not settings.accounts:
            return
        account = settings.accounts.get(name)
        if account is None:
            yield from self.unknown(path, ("accounts",), name, settings.accounts)
        elif what is not None:
            partition, company = partition or settings.default_partition, company or settings.default_company
            for place, of, allowed in (
                ("partition", partition, account.partitions), ("company", company, account.companies),
            ):  # fmt: skip
                if allowed is not None and of not in allowed:
                    text = f"the account {name} has no access to the {place} {of} of this {what}"
                    yield Finding(path=path, text=text)
                    return


Check = Callable[[Whole], Iterator[Finding]]
"""Yields what does not fit together; needs no disk, no database and no schema."""
