"""Handlers of this site. `gateway check` imports them. Restart the gateway after a change.

A handler gets the request (validated) and a context with a database connection, running numbers and a log. What
it does through the connection commits together with its answer, or not at all; ask other systems first and take
numbers last. It refuses a request with `raise OperationRejected("text for the partner")`.
"""

from decimal import Decimal

from lxml import etree

from gateway.contracts import OperationRejected, Reply, Request, ServiceContext

TIME_SHEET = "http://example.com/documents/TimeSheet"
TOTAL = "http://example.com/documents/Total"


async def total(request: Request, context: ServiceContext) -> Reply:
    """Add up the hours of a time sheet."""
    (sheet,) = request.parts
    hours = [Decimal(element.text or "0") for element in sheet.iter(f"{{{TIME_SHEET}}}Hours")]
    if sum(hours) > 168:
        raise OperationRejected(f"{sum(hours)} hours do not fit into a week.")
    answer = etree.Element(f"{{{TOTAL}}}Total")
    etree.SubElement(answer, f"{{{TOTAL}}}Hours").text = str(sum(hours))
    return Reply(parts=[answer])
