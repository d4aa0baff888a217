"""How long the event loop stood still: measured while an occurrence runs, told with its end."""

import asyncio

_BEAT_SECONDS = 0.01


class LagMeter:
    """Beats every ten milliseconds and keeps the longest delay. Units: seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self.longest = max(self.longest, loop.time() - due)
