"""`python -m tests.bench` runs all measurements."""

import asyncio
import sys

from tests.bench import claims, measure, tasks

asyncio.run(measure.main())
asyncio.run(tasks.main([]))
sys.exit(asyncio.run(claims.main([])))
