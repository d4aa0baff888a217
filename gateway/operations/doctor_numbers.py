"""Number sequences that come to the end of what their field takes: then every request fails."""

import asyncio
from collections.abc import Callable

from gateway.config.models import DocumentService, Settings
from gateway.db.open import Store
from gateway.explanations.finding import Place
from gateway.messaging.rules.numbers import grows_soon, near_its_end
from gateway.messaging.services.entities import next_numbers

LongestKey = Callable[[DocumentService], int | None]
"""Returns how many characters the key of a service's documents may have, None: any; reads schemas, for a thread."""


async def find_ending(store: Store, settings: Settings, longest_key: LongestKey) -> list[Place]:
    """Return the number sequences of services that are near their end, each with how many numbers are left."""
    found: list[Place] = []
    using = await next_numbers(store)
    for name, service in settings.services.items():
        if not isinstance(service, DocumentService) or (sequence := service.number_sequence) is None:
            continue
        following = using.get(sequence.name)
        if following is None or not grows_soon(sequence.format, following=following, step=sequence.step):
            continue  # schemas are read only where it may matter
        longest = await asyncio.to_thread(longest_key, service)
        if longest is None:
            continue
        left = near_its_end(sequence.format, longest, following=following, step=sequence.step)
        if left is not None:
            shown = sequence.format.format(number=following)
            what = f"sequence {sequence.name} of service {name} (next {shown}, {left} numbers left)"
            found.append(Place("numbers-end", None, what, sequence.name))
    return found
