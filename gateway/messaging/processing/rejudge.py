"""Judge released messages anew: by the schemas and rules of now, not by those of their arrival.

Source: rulings, "Queue tools"; decision 0014.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.intake.reading import until_read
from gateway.messaging.processing.prepare import Refused
from gateway.messaging.rules.envelope import ReadEnvelope
from gateway.messaging.rules.message import Work
from gateway.xml.pool import ReadersUnavailable, XmlPool

_SIDE_BY_SIDE = 4


async def judge_anew(works: Sequence[Work], port: ServedInbound, pool: XmlPool) -> list[Work | Refused]:
    """Return claimed messages, in order; those that an operator let go with the verdict of now.

    Rule: a message that was too large to be kept has no content to judge; its verdict stays. One that no reader can be
    found for waits.
    """
    limit = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(work: Work) -> Work | Refused:
        try:
            async with limit:
                return await _judge(work, port, pool)
        except ReadersUnavailable as error:
            return Refused(work, error)

    judged = iter(await asyncio.gather(*(one(work) for work in works if is_judged(work))))
    return [next(judged) if is_judged(work) else work for work in works]


def is_judged(work: Work) -> bool:
    """Tell whether a claimed message is judged anew."""
    return work.judge_anew and bool(work.content)


async def _judge(work: Work, port: ServedInbound, pool: XmlPool) -> Work:
    """Read the envelope again; places are those of the partner's file where they are known, never of our copy."""
    try:
        envelope = await _read(work, port, pool)
    except FileRefused as refused:
        checked, found = None, [Problem(code=refused.code, text=refused.message)]
    else:
        checked, found = envelope.schema, [*envelope.header_problems, *envelope.body_problems]
    known = {_without_place(problem): problem for problem in work.problems}
    bare = [_without_place(problem) for problem in found]
    return replace(work, checked=checked, problems=tuple([known.get(problem, problem) for problem in bare]))


async def _read(work: Work, port: ServedInbound, pool: XmlPool) -> ReadEnvelope:
    """Read one envelope. The limits on sizes are for bytes as received, which may have been fewer.

    Raises: FileRefused, ReadersUnavailable.
    """
    room = len(work.content) + 1
    rules = replace(
        port.rules,
        max_file_bytes=max(port.rules.max_file_bytes, room),
        max_envelope_bytes=max(port.rules.max_envelope_bytes, room),
        hard_envelope_bytes=max(port.rules.hard_envelope_bytes, room),
    )

    async def read(alone: bool) -> ReadEnvelope:
        found: list[ReadEnvelope] = []
        reading = pool.read_bytes(work.content, rules, port=port.name, weight=port.weight, alone=alone)
        async with aclosing(reading) as pieces:
            async for piece in pieces:
                if isinstance(piece, Sequence):
                    found += piece
        (envelope,) = found
        return envelope

    return await until_read(read, port=port.name, file=work.file_display, claim_id=None)


def _without_place(problem: Problem) -> Problem:
    return replace(problem, line=None, column=None)
