"""What stands in the text of a fault, for partners who get no details; and what never does."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.db.open import Store
from gateway.kernel.problem import Problem
from tests.inbound_bench import InboundBench, Scripted

TYPO = "SalesQtty is not an element of SalesLine; did you mean SalesQty?"
START = "/SalesOrder/SalesTable[1]"


def wrong(field: str, line: int, text: str) -> Problem:
    return Problem(code="schema", text=text, path=f"{START}/{field}", line=line, column=3, expected=f"a good {text}")


async def fault(store: Store, problems: Sequence[Problem], *, details: bool = False) -> tuple[InboundBench, str, int]:
    with ThreadPoolExecutor(1) as executor:
        respond = {"folder": "/srv/out", "details": details}
        bench = InboundBench(store, executor, Scripted(), respond=respond)
        await bench.put(["bad"], problems=problems)
        await bench.run()
    (answer,) = await bench.answers()
    return bench, str(answer.findtext(".//{*}Text")), len(answer.findall(".//{*}Detail"))


async def test_without_details_the_text_names_the_right_field(store: Store) -> None:
    _, text, details = await fault(store, [wrong("SalesLine[1]/SalesQtty", 7, TYPO)])

    assert text == f"The document is not valid: line 7, column 3, {START}/SalesLine[1]/SalesQtty: {TYPO}"
    assert details == 0


async def test_causes_are_told_each_once_and_the_rest_is_counted(store: Store) -> None:
    repeated = [wrong(f"SalesLine[{number}]/SalesQtty", 7 + number, TYPO) for number in (1, 2, 3)]
    others = [wrong(name, 20, f"{name} is wrong.") for name in ("A", "B", "C", "D")]

    _, text, _ = await fault(store, [*repeated, *others])

    assert text.count(TYPO) == 1
    assert "Also line 20, column 3" in text
    assert "A is wrong." in text and "B is wrong." in text and "C is wrong." not in text
    assert text.endswith("There are 2 more.")


@pytest.mark.parametrize("details", [False, True])
async def test_a_schema_that_cannot_be_used_is_told_the_operator_alone(store: Store, details: bool) -> None:
    unusable = Problem(code="schema.unusable", text="The schema of SalesOrder cannot be used: x.xsd:3: broken.")

    bench, text, shown = await fault(store, [wrong("A", 1, "A is wrong."), unusable], details=details)

    assert text == "The request failed; details are in the exception log of the gateway."
    assert shown == 0
    ((code, told),) = await bench.rows("SELECT code, text FROM exception")
    assert code == "schema.unusable"
    assert told.endswith("x.xsd:3: broken. Mend the schema, then release the message.")
