"""`python -m tests.bench` runs all measurements."""

import asyncio
import sys

from tests.bench import claims, measure

asyncio.run(measure.main())
sys.exit(asyncio.run(claims.main([])))
