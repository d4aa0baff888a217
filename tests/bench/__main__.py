"""`python -m tests.bench` runs all measurements."""

import asyncio
import sys

from tests.bench.measure import main

sys.exit(asyncio.run(main()))
