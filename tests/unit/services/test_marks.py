"""Marks outlive the process that set them."""

from pathlib import Path

from gateway.domain.ids import MessageKey
from gateway.services.marks import Marks


def test_marks_are_found_by_the_next_process(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    places = [marks.set(MessageKey(key)) for key in (5, 6, 2**62)]
    marks.unset(places[1])
    assert set(Marks(tmp_path).left()) == {5, 2**62}


def test_what_only_hangs_is_blamed_when_nothing_else_was_at_work(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.give_up(marks.set(MessageKey(5)))
    assert set(Marks(tmp_path).left()) == {5}
    marks.set(MessageKey(6))
    assert set(Marks(tmp_path).left()) == {6}


def test_no_mark_is_left_after_an_end_in_good_order(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.set(MessageKey(5))
    marks.clear()
    assert not Marks(tmp_path).left()


def test_a_place_is_used_again(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    for key in range(1, 2000):
        marks.unset(marks.set(MessageKey(key)))
    assert not marks.left()
