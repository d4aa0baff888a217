"""Every row of the catalogue of bad inputs that shows in the content of one file."""

import os
from collections.abc import Callable, Iterator

import pytest

import schemas
from gateway.kernel.errors import FileRefused
from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.xml.catalog import Catalog
from gateway.xml.limits import ReadRules
from gateway.xml.locate import Locator
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker
from tests.hostile import HOSTILE, Case
from tests.unit.xml.reading import still

Judges = tuple[Checker, Locator, Callable[[], float]]


@pytest.fixture(scope="module")
def judges() -> Judges:
    catalog = Catalog([schemas.FOLDER])
    return Checker(catalog), Locator(), still


@pytest.fixture
def fd() -> Iterator[int]:
    number = os.memfd_create("case")
    yield number
    os.close(number)


def _read(case: Case, fd: int, judges: Judges) -> list[ReadEnvelope]:
    for chunk in case.chunks():
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
    envelopes: list[ReadEnvelope] = []
    items = iter(read_envelopes(fd, ReadRules(max_envelopes=case.max_envelopes), *judges))
    assert isinstance(next(items), FileHead)
    for item in items:
        if isinstance(item, FileEnd):
            assert item.envelopes == len(envelopes)
            return envelopes
        assert isinstance(item, ReadEnvelope)
        envelopes.append(item)
    raise AssertionError("no end of the file")


@pytest.mark.parametrize("case", [case for case in HOSTILE if case.kind == "Q"], ids=lambda case: case.id)
def test_bad_file_is_refused_with_its_code(case: Case, fd: int, judges: Judges) -> None:
    with pytest.raises(FileRefused) as caught:
        _read(case, fd, judges)
    assert caught.value.code == case.code
    assert "root:" not in caught.value.message
    assert caught.value.context["size"] == os.fstat(fd).st_size


@pytest.mark.parametrize("case", [case for case in HOSTILE if case.kind == "F"], ids=lambda case: case.id)
def test_bad_message_is_told_and_its_neighbours_are_good(case: Case, fd: int, judges: Judges) -> None:
    envelopes = _read(case, fd, judges)
    assert len(envelopes) == case.envelopes
    for envelope in envelopes:
        problems = (*envelope.header_problems, *envelope.body_problems)
        if envelope.position == case.bad:
            assert case.code in {problem.code for problem in problems}
            assert all(problem.text for problem in problems)
        else:
            assert problems == ()


@pytest.mark.parametrize("case", [case for case in HOSTILE if case.kind == "A"], ids=lambda case: case.id)
def test_odd_file_is_accepted(case: Case, fd: int, judges: Judges) -> None:
    envelopes = _read(case, fd, judges)
    assert len(envelopes) == case.envelopes
    for envelope in envelopes:
        assert (*envelope.header_problems, *envelope.body_problems) == ()
        assert envelope.header.action is not None
        assert envelope.content.startswith(b"<Envelope ")
