"""A handler to copy from: it answers with what it was sent."""

from gateway.contracts.service import Reply, Request, ServiceContext


async def ping(request: Request, context: ServiceContext) -> Reply:
    """Return the parts of the request unchanged.

    What a handler may use: `request.parts` (validated lxml elements), `context.connection` (an open transaction
    that commits together with the answer), `context.numbers` (running numbers without gaps), `context.log`.
    It refuses a request with `raise OperationRejected("text for the partner")`.
    """
    context.log.debug("ping.answered", parts=len(request.parts))
    return Reply(parts=request.parts)
