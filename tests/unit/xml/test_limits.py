from collections.abc import Sequence

import pytest
from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.xml.limits import ENVELOPE_SECONDS, FILE_SECONDS, Budget, WorkClock
from tests.hostile import batch, envelope
from tests.unit.xml.reading import read


class _Clock:
    """Stands still but for what is added."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Judge:
    """Takes some time for each document, and finds something wrong with it."""

    fingerprint = "f-1"

    def __init__(self, clock: _Clock, *seconds: float) -> None:
        self._clock = clock
        self._seconds = list(seconds)
        self.brief: list[bool] = []

    def begin(self) -> None:
        self.brief.clear()

    def check(self, part: etree._Element, *, brief: bool = False) -> Sequence[Problem]:
        self._clock.now += self._seconds.pop(0)
        self.brief.append(brief)
        return (Problem(code="schema", text="Wrong.", path="/SalesOrder"),)


def _refused(clock: _Clock, content: str, *seconds: float) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read(content, checker=_Judge(clock, *seconds), clock=clock)
    assert caught.value.code == "file.too-costly"
    return caught.value


def test_an_envelope_that_takes_too_long_refuses_the_file_with_its_place() -> None:
    content = batch(envelope(), "\n\n", envelope(), "\n", envelope())
    refused = _refused(_Clock(), content, 0.01, ENVELOPE_SECONDS + 0.1)
    assert (refused.line, refused.context["envelope"]) == (3, 2)
    assert "Envelope 2 takes too much work to read: more than 0.5 seconds" in refused.message
    assert refused.size == len(content)
    assert refused.sha256 is not None


def test_envelopes_that_take_too_long_together_refuse_the_file_at_the_one_reached() -> None:
    refused = _refused(_Clock(), batch(*["\n" + envelope()] * 9), *[FILE_SECONDS / 4] * 9)
    assert (refused.line, refused.context["envelope"]) == (6, 5)
    assert "more than 1.0 seconds" in refused.message and "used up at envelope 5" in refused.message


def test_a_larger_file_may_take_longer() -> None:
    judge = _Judge(clock := _Clock(), *[0.45] * 9)
    with pytest.raises(FileRefused):
        read(batch(*[envelope()] * 9), checker=judge, clock=clock)
    judge = _Judge(clock, *[0.45] * 9)
    done = read(batch(*[envelope()] * 9, " " * 4_000_000), checker=judge, clock=clock)
    assert len(done.envelopes) == 9


def test_when_half_of_the_time_is_gone_words_are_found_in_the_cheap_way() -> None:
    judge = _Judge(clock := _Clock(), *[FILE_SECONDS / 5] * 4)
    read(batch(*[envelope()] * 4), checker=judge, clock=clock)
    assert judge.brief == [False, False, False, True]


def test_time_is_looked_at_while_an_envelope_is_still_coming() -> None:
    clock = _Clock()

    def ticking() -> float:
        clock.now += 0.3
        return clock.now

    text = batch(envelope("\n<x>" + "<y/>" * 100_000 + "</x>"))
    with pytest.raises(FileRefused) as caught:
        read(text, clock=ticking)
    assert (caught.value.code, caught.value.line, caught.value.context["envelope"]) == ("file.too-costly", 1, 1)


def test_the_time_of_a_large_envelope_is_not_counted_as_that_of_the_next() -> None:
    class Good(_Judge):
        def check(self, part: etree._Element, *, brief: bool = False) -> Sequence[Problem]:
            super().check(part, brief=brief)
            return ()

    judge = Good(clock := _Clock(), 0.55, 0.01)
    large = envelope(f"<x>{'<y/>' * 25_000}</x>")
    assert len(read(batch(large, envelope("<z/>")), checker=judge, clock=clock).envelopes) == 2


def test_a_stopped_clock_does_not_count() -> None:
    clock = _Clock()
    work = WorkClock(clock)
    began = work()
    with work.stopped():
        clock.now += 5
        with work.stopped():
            clock.now += 5
        assert work() == began
    clock.now += 1
    assert work() == began + 1


def test_a_budget_is_within_its_limits_to_the_last() -> None:
    budget = Budget(1_000_000, clock := _Clock())
    clock.now += 1.5
    budget.begin_envelope()
    with pytest.raises(FileRefused, match="Envelope 1"):
        budget.check(1, 500_000, None)
    budget.check(1, 1_000_000, None)
    budget.begin_envelope()
    clock.now += 0.4
    budget.check(2, 1_000, None)
