"""Documents as manuals print them and partners send them: whole ones are answered, the others told what is wrong."""

import re
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from tests.site import Site, until

DOCUMENTS = Path(__file__).parents[1] / "data" / "documentation"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((DOCUMENTS / "expected.yaml").read_text())


def test_every_document_is_expected_to_end_somehow() -> None:
    named = sorted(name for ends in EXPECTED.values() for name in ends)
    assert named == sorted(path.name for path in DOCUMENTS.glob("*.xml"))


async def test_documents_end_as_expected(site: Site) -> None:
    site.add_port(process={"mode": "parallel"}, receive={"grace_seconds": 0.3, "settle_seconds": 0.1})
    await site.start()
    names = [name for ends in EXPECTED.values() for name in ends]
    for name in names:
        site.drop(name, (DOCUMENTS / name).read_bytes())

    async def all_done() -> bool:
        rows = await site.query(
            """SELECT (SELECT count(*) FROM delivery) AS files,
               (SELECT count(*) FROM queue WHERE status NOT IN ('error', 'malformed')) AS unfinished"""
        )
        return bool(rows[0]["files"] == len(names) and rows[0]["unfinished"] == 0)

    await until(all_done, f"{len(names)} documents are done", tell=site.tail)
    wrong = [trouble for name in names if (trouble := await compare(site, name)) is not None]
    assert wrong == [], "\n".join(wrong)
    assert await site.stop() == 0


async def compare(site: Site, name: str) -> str | None:
    """Return what differs from what is expected of a document, None when nothing does."""
    stem = name.removesuffix(".xml")
    answers = [etree.fromstring(text) for file, text in site.answers().items() if file.startswith(f"{stem}.")]
    codes = {answer.findtext(".//{*}Fault/{*}Code") for answer in answers}
    rows = await site.query("SELECT * FROM exception WHERE file = $1 AND severity = 'error'", name)
    told = f"{name}: {codes} {[(row['code'], row['line'], row['col'], row['text']) for row in rows]}"
    if name in EXPECTED["answered"]:
        namespaces = set(re.findall(r'"(http://[^"]*/documents/Message)"', (DOCUMENTS / name).read_text()))
        same = {etree.QName(answer).namespace for answer in answers} == namespaces
        return None if codes == {None} and rows == [] and same else told
    expected = (EXPECTED["failed"] | EXPECTED["refused"])[name]
    if len(rows) != 1 or expected["says"] not in rows[0]["text"]:
        return told
    if (expected.get("line"), expected.get("column")) != (rows[0]["line"], rows[0]["col"]):
        return told
    if name in EXPECTED["failed"]:
        return None if codes == {expected["fault"]} else told
    return None if answers == [] and rows[0]["code"] == expected["code"] else told
