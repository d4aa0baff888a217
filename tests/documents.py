"""Partner files for tests: the documented sales order in every form that partners write."""

from collections.abc import Sequence
from uuid import UUID, uuid4

MESSAGE = "http://schemas.microsoft.com/dynamics/2011/01/documents/Message"
BATCH = "http://schemas.microsoft.com/dynamics/2009/06/documents/Batch"
SERVICES = "http://schemas.microsoft.com/dynamics/2008/01/services"
SALES_ORDER = "http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder"
CREATE = f"{SERVICES}/SalesOrderService/create"
READ = f"{SERVICES}/SalesOrderService/read"
PING = f"{SERVICES}/Ping/ping"
KEY_LIST = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList"
KEY = "http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey"


def guid(number: int) -> str:
    """Return a MessageId as partners write it."""
    return f"{{{str(UUID(int=number)).upper()}}}"


def order(quantity: str = "10", *, customer: str = "100002", extra: str = "") -> str:
    return (
        f'<SalesOrder xmlns="{SALES_ORDER}"><SalesTable class="entity"><CustAccount>{customer}</CustAccount>'
        f"<PurchOrderFormNum>P0</PurchOrderFormNum><ReceiptDateRequested>2011-05-31</ReceiptDateRequested>{extra}"
        f'<SalesLine class="entity"><ItemId>10003</ItemId><SalesQty>{quantity}</SalesQty><SalesUnit>Pcs</SalesUnit>'
        "</SalesLine></SalesTable></SalesOrder>"
    )


def envelope(
    body: str | None = None, *, message_id: str | None = "", action: str | None = CREATE, header: str = "",
    namespace: str = MESSAGE,
) -> str:  # fmt: skip
    """Return one request; `message_id` None leaves the element out, "" makes a new one."""
    if message_id == "":
        message_id = f"{{{str(uuid4()).upper()}}}"
    identity = "" if message_id is None else f"<MessageId>{message_id}</MessageId>"
    what = "" if action is None else f"<Action>{action}</Action>"
    content = order() if body is None else body
    return (
        f'<Envelope xmlns="{namespace}"><Header>{identity}{what}{header}</Header>'
        f"<Body><MessageParts>{content}</MessageParts></Body></Envelope>"
    )


def batch(envelopes: Sequence[str], attributes: str = "", *, namespace: str = BATCH) -> bytes:
    body = "\n".join(envelopes)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Batch xmlns="{namespace}" {attributes}>\n{body}\n</Batch>'.encode()
    )


def single(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def keys(*values: str, field: str = "SalesId") -> str:
    entities = "".join(
        f'<EntityKey xmlns="{KEY}"><KeyData><KeyField><Field>{field}</Field><Value>{value}</Value></KeyField></KeyData>'
        "</EntityKey>"
        for value in values
    )
    return f'<EntityKeyList xmlns="{KEY_LIST}">{entities}</EntityKeyList>'


PRINTED_EXAMPLE = """<?xml version="1.0" encoding="UTF-8"?>
<Batch xmlns="https://schemas.microsoft.com/dynamics/2009/06/documents/Batch"
    BatchId="1234" ConversationId="5678">
<Envelope xmlns="https://schemas.microsoft.com/dynamics/2011/01/documents/Message">
  <Header>
    <MessageId>{722B196B-4ACB-4048-8ED3-36915A7DD269}</MessageId>
    <Action>https://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create</Action>
  </Header>
  <Body>
    <MessageParts>
      <SalesOrder xmlns="https://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder">
        <SalesTable class="entity">
          <CustAccount>100002</CustAccount>
          <PurchOrderFormNum>P0</PurchOrderFormNum>
          <ReceiptDateRequested>2011-05-31</ReceiptDateRequested>
          <SalesLine class="entity">
            <ItemId>10003</ItemId>
            <SalesQty>10</SalesQty>
            <SalesUnit>Pcs</SalesUnit>
          </SalesLine>
        </SalesTable>
      </SalesOrder>
    </MessageParts>
  </Body>
</Envelope>
<Envelope xmlns="https://schemas.microsoft.com/dynamics/2011/01/documents/Message">
  <Header>
    <MessageId>{44920385-3194-498F-8AC7-438F3632DF51}</MessageId>
    <Action>https://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create</Action>
  </Header>
  <Body>
    <MessageParts>
      <SalesOrder xmlns="https://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder">
        <SalesTable class="entity">
          <CustAccount>100002</CustAccount>
          <PurchOrderFormNum>P0</PurchOrderFormNum>
          <ReceiptDateRequested>2011-05-31</ReceiptDateRequested>
          <SalesLine class="entity">
            <ItemId>10003</ItemId>
            <SalesQty>5</SalesQty>
            <SalesUnit>Pcs</SalesUnit>
          </SalesLine>
        </SalesTable>
      </SalesOrder>
    </MessageParts>
  </Body>
</Envelope>
</Batch>
"""


def forms_of_the_example() -> dict[str, tuple[bytes, int]]:
    """Return the documented example in every form that must work: content and number of answers."""
    http = PRINTED_EXAMPLE.replace("https://", "http://")
    one = http[http.index("<Envelope") : http.index("</Envelope>") + len("</Envelope>")]
    bare = http.replace(' BatchId="1234" ConversationId="5678"', "").replace(
        '\n    BatchId="1234" ConversationId="5678"', ""
    )
    prefixed = http
    for name in ("Batch", "Envelope", "Header", "Body", "MessageId", "Action", "MessageParts", "SalesOrder",
                 "SalesTable", "CustAccount", "PurchOrderFormNum", "ReceiptDateRequested", "SalesLine", "ItemId",
                 "SalesQty", "SalesUnit"):  # fmt: skip
        prefix = (
            "b"
            if name == "Batch"
            else "m"
            if name in ("Envelope", "Header", "Body", "MessageId", "Action", "MessageParts")
            else "d"
        )
        prefixed = prefixed.replace(f"<{name} ", f"<{prefix}:{name} ").replace(f"<{name}>", f"<{prefix}:{name}>")
        prefixed = prefixed.replace(f"</{name}>", f"</{prefix}:{name}>")
    for prefix, document in (("b", "documents/Batch"), ("m", "documents/Message"), ("d", "documents/SalesOrder")):
        for head in ("http://schemas.microsoft.com/dynamics/2009/06/", "http://schemas.microsoft.com/dynamics/2011/01/",
                     "http://schemas.microsoft.com/dynamics/2008/01/"):  # fmt: skip
            prefixed = prefixed.replace(f'xmlns="{head}{document}"', f'xmlns:{prefix}="{head}{document}"')
    utf16 = http.replace('<?xml version="1.0" encoding="UTF-8"?>\n', "")
    commented = "<!-- from the shop -->\n" + http.split("?>", 1)[1].replace(
        "<SalesQty>10</SalesQty>", "<SalesQty><![CDATA[10]]></SalesQty><!-- ten -->"
    )
    return {
        "as printed": (PRINTED_EXAMPLE.encode(), 2),
        "http namespaces": (http.encode(), 2),
        "single envelope": (f'<?xml version="1.0"?>\n{one}'.encode(), 1),
        "batch without attributes": (bare.encode(), 2),
        "UTF-16 with BOM": (utf16.encode("utf-16"), 2),
        "comment and CDATA": (commented.encode(), 2),
        "prefixed namespaces": (prefixed.encode(), 2),
    }
