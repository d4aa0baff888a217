from gateway.kernel.problem import MAX_PROBLEMS, Problem, Problems


def test_twenty_problems_are_told_and_the_others_counted_without_words() -> None:
    made: list[int] = []

    def problem(number: int) -> Problem:
        made.append(number)
        return Problem(code="c", text=f"{number} is wrong.")

    found = Problems()
    for number in range(1_000):
        found.add(problem, number)
    assert made == list(range(MAX_PROBLEMS))
    assert len(found.all()) == MAX_PROBLEMS
    assert [each.text for each in found.all()][-2:] == [
        "18 is wrong.",
        "19 is wrong. There are 980 more problems in this message.",
    ]
