"""A service whose effects are counted: each request takes a number and leaves a row; one quantity is refused."""

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.kernel.errors import OperationRejected

SEQUENCE = "Counted"
REFUSED = "13"


async def create(request: Request, context: ServiceContext) -> Reply:
    """Leave both effects first, then refuse: only an undone transaction takes them back."""
    (number,) = await context.numbers.take(SEQUENCE)
    await context.connection.execute(
        "INSERT INTO entity (rec_id, document, partition_key, company, key, content, request_id)"
        " VALUES (nextval('rec_id'), 'counted', 'initial', 'DAT', $1, '', $2)",
        str(number), request.key,
    )  # fmt: skip
    if request.parts[0].findtext(".//{*}SalesQty") == REFUSED:
        raise OperationRejected(f"nobody orders {REFUSED}")
    return Reply(entity_keys=[[("SalesId", str(number))]], keys_only=True)


async def read(_: Request, __: ServiceContext) -> Reply:
    """Send the same key to everybody who is sent something."""
    return Reply(entity_keys=[[("SalesId", "1")]], keys_only=True)
