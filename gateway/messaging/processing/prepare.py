"""Make requests of claimed messages: authorise, match the parts, raise what the reader found, parse.

Runs in a thread: parsing a chunk takes longer than the event loop may stand still.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lxml import etree

from gateway.config.models import Settings
from gateway.contracts.service import Request
from gateway.kernel.errors import MalformedMessage, SchemaUnusable, SchemaViolation
from gateway.kernel.namespaces import canonical, scheme_of
from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.kernel.text import clean
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.processing.authorise import authorise
from gateway.messaging.queue.leases import CLAIM_BYTES
from gateway.messaging.rules.message import Work
from gateway.messaging.rules.poison import why_not
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.registry import Found, Registry
from gateway.xml.parse import document_parser
from gateway.xml.parts import parts_of

_TOLD_CAUSES = 3
_MOST_NAMES = 12
_NAME_LENGTH = 200
_DOCUMENT_CODES = ("schema", "value.", "document.")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that may run: the request and the operation it calls.

    `late`: the request has no parts yet; `whole_request` parses them when its turn has come.
    """

    work: Work
    request: Request
    found: Found
    late: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that must not run, and why. `prepared` is what would run if its code had not ended the process."""

    work: Work
    error: Exception
    prepared: Prepared | None = None


Item = Prepared | Refused


def prepare(works: Sequence[Work | Refused], port: ServedInbound, registry: Registry, settings: Settings) -> list[Item]:
    """Check and parse messages of one port, in order; one entry each. Any exception of one is its own.

    What is refused already stays so.

    Rule: a Rollback set is claimed whole, however large it is. What goes beyond the bytes of a claim is parsed late,
    because a parsed document takes up to thirty times the space of its text.
    """
    prepared: list[Item] = []
    parser = document_parser()
    held = 0
    for work in works:
        if isinstance(work, Refused):
            prepared.append(work)
            continue
        held += len(work.content)
        late = work.policy is Policy.ROLLBACK and held > CLAIM_BYTES
        try:
            prepared.append(_unless_it_ran(_prepare(work, port, registry, settings, None if late else parser)))
        except Exception as error:  # a message's trouble stays its own; decide.py judges it
            prepared.append(Refused(work, error))
    return prepared


def _unless_it_ran(item: Prepared) -> Item:
    work, operation = item.work, f"{item.found.service}.{item.found.name}"
    error = why_not(work.key, operation, crashes=work.crashes, held_loop=work.held_loop)
    return item if error is None else Refused(item.work, error, item)


async def whole_request(item: Prepared) -> Request:
    """Return the request of a message with its parts; those of a late one are parsed now, and kept by nobody else."""
    if not item.late:
        return item.request
    return replace(item.request, parts=await asyncio.to_thread(parts_of, item.work.content))


def _prepare(
    work: Work, port: ServedInbound, registry: Registry, settings: Settings, parser: etree.XMLParser | None
) -> Prepared:
    header = tuple(p for p in work.problems if not p.code.startswith(_DOCUMENT_CODES))
    if header:
        raise MalformedMessage(_summary("The envelope is not valid", header), code=header[0].code, problems=header)
    allowed = authorise(work, port, registry, settings)
    _match_parts(work, allowed.found)
    if work.problems and port.settings.process.validate_documents:
        _check_usable(work.problems)
        raise SchemaViolation(
            _summary("The document is not valid", work.problems), code=work.problems[0].code, problems=work.problems
        )
    takes_content = allowed.found.takes_content
    request = Request(
        key=work.key, port=port.name, message_id=work.message_id, service=allowed.found.service,
        operation=allowed.found.name, parts=[] if takes_content or parser is None else parts_of(work.content, parser),
        scheme=scheme_of(work.namespace), company=allowed.company, partition=allowed.partition, user=allowed.user,
        received_at=work.received_at, content=work.content if takes_content else b"",
    )  # fmt: skip
    return Prepared(work, request, allowed.found, late=parser is None and not takes_content)


def _check_usable(problems: Sequence[Problem]) -> None:
    """Keep the operator's trouble from the partner. Raises: SchemaUnusable."""
    unusable = next((problem for problem in problems if problem.code == SchemaUnusable.code), None)
    if unusable is not None:
        raise SchemaUnusable(f"{unusable.text} Mend the schema, then release the message.")


def _match_parts(work: Work, found: Found) -> None:
    """Compare what the request carries with what the operation takes.

    Raises: SchemaViolation naming both.
    """
    expects = found.operation.expects
    if expects is None or tuple(canonical(part) for part in work.parts) == expects:
        return
    carried, wanted = _local_names(work.parts), _local_names(expects)
    if carried == wanted:  # then it is a namespace that differs
        carried, wanted = _full_names(work.parts), _full_names(expects)
    problem = Problem(
        code="document.unexpected",
        text=f"{found.service}.{found.name} takes {wanted}; the MessageParts hold {carried}.",
        path="/Envelope/Body/MessageParts",
        found=_listed(work.parts) or None,
        expected=_listed(expects) or None,
    )
    raise SchemaViolation(problem.text, code=problem.code, problems=(problem,))


def _local_names(parts: Sequence[str]) -> str:
    return _listed([etree.QName(part).localname for part in parts]) or "nothing"


def _full_names(parts: Sequence[str]) -> str:
    names = [etree.QName(part) for part in parts]
    return _listed(
        [
            f"{name.localname} in {name.namespace}" if name.namespace else f"{name.localname} without namespace"
            for name in names
        ]
    )


def _listed(names: Sequence[str]) -> str:
    """Return names in a row, the first of many: a message may hold a hundred documents, with long names."""
    told = ", ".join(clean(name, _NAME_LENGTH) for name in names[:_MOST_NAMES])
    return told if len(names) <= _MOST_NAMES else f"{told} and {len(names) - _MOST_NAMES} more"


def _summary(what: str, problems: Sequence[Problem]) -> str:
    """Say the first problem of each cause, three at most, and how many other causes there are."""
    firsts: dict[object, Problem] = {}
    for problem in problems:
        firsts.setdefault(problem.cause, problem)
    told = [str(problem) for problem in firsts.values()]
    more = len(told) - _TOLD_CAUSES
    count = f"at least {more}" if len(problems) >= MAX_PROBLEMS else f"{more}"
    return f"{what}: {' Also '.join(told[:_TOLD_CAUSES])}" + (
        f" There {'is' if count == '1' else 'are'} {count} more." if more > 0 else ""
    )
