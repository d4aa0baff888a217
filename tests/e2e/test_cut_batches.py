"""P16: a batch that is cut off anywhere does nothing: no effect, no answer, one error that says so."""

from collections.abc import Sequence

import pytest

from tests.hostile import batch, declared, envelope, order
from tests.site import Site, until

_WHOLE = batch(*(envelope(order(form=f"Größe {number}")) for number in range(3)))
FORMS = {
    "continue": _WHOLE.encode(),
    "halt": b"\xff\xfe" + _WHOLE.encode("utf-16-le"),
    "rollback": declared("windows-1252", f"<!-- from the shop -->{_WHOLE}", "cp1252"),
}
"""A form of the batch for each error policy, which is also the name of the port."""


@pytest.mark.parametrize(
    "step", [12, pytest.param(1, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["some", "all"]
)
async def test_cut_batch_has_no_effect_and_one_error(site: Site, step: int) -> None:
    cuts: dict[str, Sequence[bytes]] = {}
    for policy, whole in FORMS.items():
        site.add_port(policy, process={"on_error": policy}, receive={"grace_seconds": 0.3, "settle_seconds": 0.1})
        lengths = [*(len(whole) * percent // 100 for percent in range(0, 100, step)), len(whole) - 1]
        cuts[policy] = [whole[:length] for length in lengths]
    await site.start()
    for port, contents in cuts.items():
        for number, content in enumerate(contents):
            site.drop(f"cut-{number:03}.xml", content, port)
    for port, contents in cuts.items():
        await check(site, port, contents)
    assert await site.query("SELECT 1 FROM entity") == []
    for port, whole in FORMS.items():
        site.drop("whole.xml", whole, port)
        assert len(await site.wait_answers(3, port)) == 3
    rows = await site.query("SELECT convert_from(content, 'UTF8') AS content FROM entity")
    assert ["Größe" in row["content"] for row in rows] == [True] * 9
    assert await site.stop() == 0


async def check(site: Site, port: str, contents: Sequence[bytes]) -> None:
    """Compare what the port has to show for cut files with what it must."""
    error = site.data / "error" / port

    async def all_kept() -> bool:
        return len([path for path in error.iterdir() if path.suffix != ".txt"]) >= len(contents)

    await until(all_kept, f"every cut file lies in the error folder of {port}", tell=site.tail)
    assert len(list(error.glob("*.txt"))) == len(contents)
    assert sorted(path.read_bytes() for path in error.iterdir() if path.suffix != ".txt") == sorted(contents)
    rows = await site.query("SELECT file, code, severity FROM exception WHERE port = $1 ORDER BY file", port)
    expected = [(f"cut-{number:03}.xml", "error") for number in range(len(contents))]
    assert [(row["file"], row["severity"]) for row in rows] == expected
    assert {row["code"] for row in rows} == {"xml.incomplete", "file.empty"}
    messages = "SELECT 1 FROM message WHERE port = $1 AND (direction = 'out' OR service IS NOT NULL)"
    assert await site.query(messages, port) == []
    assert site.answers(port) == {}
