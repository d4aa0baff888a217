"""`python -m tests.bench` runs all measurements."""

import asyncio
import sys

from tests.bench import claims, files, measure, messages, reading, tasks

asyncio.run(measure.main())
asyncio.run(files.main([]))
reading.main([])
asyncio.run(tasks.main([]))
claimed = asyncio.run(claims.main([]))
sys.exit(asyncio.run(messages.main([])) or claimed)
