"""The broken gateways of the crash proofs break what is there: a name that was changed must not leave one harmless."""

import asyncio
import inspect
import pkgutil
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest

import adapters
import gateway
from tests.crash import bad_files, environments, mutants
from tests.crash.mutants import BUILDS

MISSING = object()
NAMELESS = (["_"], ["folder"])
"""The parameters of a build."""


class Place(NamedTuple):
    """A module, class or function of ours, and the name of something in it: of a function, of a keyword argument."""

    owner: Any
    name: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"


class Change(NamedTuple):
    """What a build put in the place of something; `before` is MISSING where nothing was."""

    place: Place
    before: object
    after: object


@pytest.fixture(scope="module")
def modules() -> list[ModuleType]:
    """All of the gateway but what starts it."""
    return [
        import_module(found.name)
        for package in (gateway, adapters)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]


@pytest.fixture(scope="module")
def named(modules: list[ModuleType]) -> Mapping[str, set[str]]:
    """The names that the functions of each module look up when they run."""
    return {module.__name__: set(names_in_functions(module)) for module in modules}


def names_in_functions(module: ModuleType) -> Iterator[str]:
    assert module.__spec__ is not None
    whole = module.__spec__.loader.get_code(module.__name__)  # type: ignore[union-attr]
    codes = [code for code in whole.co_consts if isinstance(code, CodeType)]
    while codes:
        code = codes.pop()
        yield from code.co_names
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]


@pytest.fixture(scope="module")
def owners(modules: list[ModuleType]) -> list[Any]:
    """Our modules and classes, and functions with keyword arguments, whose defaults can be changed in place."""
    classes = {one for module in modules for one in vars(module).values() if isclass(one) and is_ours(one)}
    functions = {one for owner in [*modules, *classes] for one in vars(owner).values() if isfunction(one)}
    return [*modules, *classes, *(one for one in functions if one.__kwdefaults__)]


def is_ours(one: type) -> bool:
    return one.__module__.partition(".")[0] in {"gateway", "adapters"}


def contents(owner: Any) -> dict[str, object]:
    if isfunction(owner):
        return dict(owner.__kwdefaults__ or {})
    return {name: one for name, one in vars(owner).items() if not name.startswith("__") or name == "__init__"}


def changes_of(build: str, folder: Path, owners: list[Any]) -> list[Change]:
    """Apply a build, take it back, and return what it changed."""
    before = [contents(owner) for owner in owners]
    changes: list[Change] = []
    try:
        BUILDS[build](folder)
    finally:
        for owner, known in zip(owners, before, strict=True):
            for name, one in contents(owner).items():
                if one is not known.get(name, MISSING):
                    changes.append(Change(Place(owner, name), known.get(name, MISSING), one))
                    put_back(changes[-1])
    return changes


def put_back(change: Change) -> None:
    owner, name = change.place
    if isfunction(owner):
        changed = {**owner.__kwdefaults__, name: change.before}
        owner.__kwdefaults__ = {name: one for name, one in changed.items() if one is not MISSING}
    elif change.before is MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, change.before)


@pytest.mark.parametrize("name", BUILDS)
def test_build_changes_what_is_there_and_used_into_something_that_can_be_called_alike(
    name: str, owners: list[Any], named: Mapping[str, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited: list[object] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *limit: limited.append(limit))
    monkeypatch.setattr(time, "time", time.time)  # put back at the end, whatever a build makes of it
    changes = changes_of(name, tmp_path, owners)
    assert changes or limited, "it changes nothing"
    assert [wrong for change in changes for wrong in wrongs(change, named)] == []


def test_every_build_is_in_the_list() -> None:
    made = {
        name
        for module in (mutants, bad_files, environments)
        for name, one in vars(module).items()
        if isfunction(one) and one.__module__ == module.__name__ and list(inspect.signature(one).parameters) in NAMELESS
    }
    assert made == set(BUILDS)


def ready(_: int, *, soon: bool) -> None:
    """Stand for what a build may replace."""


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (MISSING, ready, "is not there"),
        (ready, lambda *_: None, "is called in another way"),
        (ready, 1.0, "is a function, not a float"),
        (Place, ready, "is a class, and this is no kind of it"),
        (lambda *_: None, asyncio.sleep, "does not hold for both"),
    ],
)
def test_build_that_has_lost_its_mark_is_seen(before: object, after: object, reason: str) -> None:
    (wrong, *_) = wrongs(Change(Place(asyncio, "ready"), before, after), {"asyncio": {"ready"}})
    assert reason in wrong


def test_build_that_changes_what_nobody_asks_for_is_seen() -> None:
    (wrong,) = wrongs(Change(Place(asyncio, "ready"), 1, 2), {"asyncio": set()})
    assert wrong == "nobody asks for asyncio.ready"


def wrongs(change: Change, named: Mapping[str, set[str]]) -> Iterator[str]:
    """Say why a change would not do what it is meant to do."""
    place, before, after = change
    if before is MISSING:
        yield f"{place} is not there"
        return
    readers = [named[place.owner.__name__]] if isinstance(place.owner, ModuleType) else named.values()
    if not (place.name == "__init__" or isfunction(place.owner) or any(place.name in names for names in readers)):
        yield f"nobody asks for {place}"
    if isclass(before):
        if not (isclass(after) and issubclass(after, before)):
            yield f"{place} is a class, and this is no kind of it"
        return
    if not callable(before) or not callable(after):
        if type(before) is not type(after):
            yield f"{place} is a {type(before).__name__}, not a {type(after).__name__}"
        return
    for ask in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
        if ask(before) != ask(after):
            yield f"{place}: {ask.__name__} does not hold for both"
    if (reason := differs(before, after)) is not None:
        yield f"{place} is called in another way: {reason}"


def differs(before: Callable[..., Any], after: Callable[..., Any]) -> str | None:
    """Return why what is called like *before* cannot be called like that as *after*."""
    parameters = inspect.signature(before).parameters.values()
    for asked in (list(parameters), [one for one in parameters if one.default is one.empty]):
        in_order = [one.name for one in asked if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        by_name = {one.name: one.name for one in asked if one.kind is one.KEYWORD_ONLY}
        try:
            inspect.signature(after).bind(*in_order, **by_name)
        except TypeError as error:
            return str(error)
    return None
