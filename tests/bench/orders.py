"""Makes batches of sales orders for measurements."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

_MESSAGE = "http://schemas.microsoft.com/dynamics/2011/01/documents/Message"
_ACTION = "http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create"
_ORDER = "http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder"


def envelope(number: int, lines: int = 1) -> str:
    """Return one request with *lines* order lines; its MessageId is made of *number*."""
    items = "".join(
        f'<SalesLine class="entity"><ItemId>{10000 + line}</ItemId><SalesQty>{number % 90 + 1}</SalesQty>'
        f"<SalesUnit>Pcs</SalesUnit></SalesLine>"
        for line in range(lines)
    )
    return (
        f'<Envelope xmlns="{_MESSAGE}">\n  <Header>\n'
        f"    <MessageId>{{{str(UUID(int=number + 1)).upper()}}}</MessageId>\n"
        f"    <Action>{_ACTION}</Action>\n  </Header>\n  <Body>\n    <MessageParts>\n"
        f'      <SalesOrder xmlns="{_ORDER}">\n        <SalesTable class="entity">\n'
        f"          <CustAccount>{100000 + number % 1000}</CustAccount>\n"
        f"          <PurchOrderFormNum>PO{number}</PurchOrderFormNum>\n"
        f"          <ReceiptDateRequested>2031-02-03</ReceiptDateRequested>\n          {items}\n"
        f"        </SalesTable>\n      </SalesOrder>\n    </MessageParts>\n  </Body>\n</Envelope>\n"
    )


def batch(first: int, count: int, *, lines: int = 1) -> Iterator[bytes]:
    """Yield the pieces of a batch of *count* requests, numbered from *first*."""
    yield (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<Batch xmlns="http://schemas.microsoft.com/dynamics/2009/06/documents/Batch">\n'
    )
    for number in range(first, first + count):
        yield envelope(number, lines).encode()
    yield b"</Batch>\n"


def write_batches(folder: Path, files: int, envelopes: int) -> list[Path]:
    """Write *files* batches of *envelopes* requests each and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        path = folder / f"batch_{number:04}.xml"
        path.write_bytes(b"".join(batch(number * envelopes, envelopes)))
        paths.append(path)
    return paths
