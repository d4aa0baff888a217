"""What a check says of the schemas and samples of a site."""

from pathlib import Path

import pytest

from gateway.config import yaml
from gateway.config.load import parse
from gateway.runtime.check import check
from gateway.runtime.checked import Finding, Verdict

SALES_ORDER = "http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder"


def schema(namespace: str, body: str) -> str:
    return (
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{namespace}" targetNamespace="{namespace}" '
        f'elementFormDefault="qualified">{body}</xs:schema>'
    )


def element(name: str, kind: str) -> str:
    return f'<xs:element name="{name}" type="xs:{kind}"/>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "schemas").mkdir()
    return tmp_path


async def found(site: Path, services: str = "{}") -> list[Finding]:
    text = f"schemas: [./schemas]\nservices: {services}\n"
    settings = parse(text.encode(), file="c.yaml", base=site, environ={})
    findings = await check(settings, site, yaml.read(text.encode()))
    return [each for each in findings if each.verdict is not Verdict.OK and each.subject != "store"]


async def test_a_site_may_declare_a_document_of_ours_anew(site: Path) -> None:
    """The sample of the product follows the schema of the product, not that of the site."""
    (site / "schemas/SalesOrder.xsd").write_text(schema(SALES_ORDER, element("SalesOrder", "int")))

    assert await found(site) == []


async def test_a_sample_of_the_site_has_to_follow_the_schema_that_counts(site: Path) -> None:
    (site / "schemas/a.xsd").write_text(schema("urn:a", element("a", "int")))
    (site / "schemas/a.sample.xml").write_text('<a xmlns="urn:a">x</a>')

    (finding,) = await found(site)
    assert (finding.subject, finding.verdict) == ("samples", Verdict.ERROR)


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ('{kind: document, document: "{urn:a}a", entity: e, key: k}', ("document",)),
        ('{kind: python, operations: {take: {handler: "os:getcwd", expects: ["{urn:a}a"]}}}',
         ("operations", "take", "expects")),
    ],
)  # fmt: skip
async def test_a_document_that_two_sets_declare_differently_is_an_error_for_a_service_that_names_it(
    site: Path, service: str, path: tuple[str, ...]
) -> None:
    for name, kind in (("one", "int"), ("two", "date")):
        (site / "schemas" / name).mkdir()
        (site / "schemas" / name / "a.xsd").write_text(schema("urn:a", element("a", kind)))

    findings = await found(site, f"{{S: {service}}}")
    errors = [each for each in findings if each.verdict is Verdict.ERROR and "differently" in each.text]
    assert [each.path for each in errors] == [("services", "S", *path)]
    assert all(f"{name}/a.xsd" in errors[0].text for name in ("one", "two"))
    assert [each.verdict for each in await found(site)] == [Verdict.WARNING]


async def test_a_schema_that_cannot_be_loaded_is_named_and_the_check_goes_on(site: Path) -> None:
    (site / "schemas/relative.xsd").write_text(schema("RelativeName", element("x", "string")))
    (site / "schemas/broken.xsd").write_text("<xs:schema")
    service = f'{{S: {{kind: document, document: "{{{SALES_ORDER}}}SalesOrder", entity: SalesTable, key: SalesId}}}}'

    (finding,) = await found(site, service)
    assert (finding.verdict, Path(str(finding.file)).name) == (Verdict.ERROR, "broken.xsd")
