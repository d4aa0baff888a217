"""Writing how a session stands as a small XML document."""

from datetime import UTC, datetime
from typing import Final

from lxml import etree

from gateway.exchange.sources import Told

NAMESPACE: Final = "urn:gateway:exchange:session"


def write_session(told: Told) -> bytes:
    """Return the document of a session, of `Session.xsd`."""
    root = etree.Element(f"{{{NAMESPACE}}}Session", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # the stubs forget it
    values = {
        "Station": told.name.station, "Direction": told.name.direction.title(), "Number": told.name.number,
        "Status": "".join(word.title() for word in told.status.split("_")), "At": _moment(told.status_at),
        "Job": told.job, "DataGroup": told.data_group, "Rows": told.rows, "Path": told.path, "Text": told.text,
        "ChangedAt": _moment(told.changed_at),
    }  # fmt: skip
    for name, value in values.items():
        if value is not None:
            etree.SubElement(root, f"{{{NAMESPACE}}}{name}").text = str(value)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
