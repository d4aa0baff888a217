"""The gateway's own schemas: envelope, batch, keys, criteria, faults, shared types and two sample documents.

Data only. What reads and compiles them lives in `gateway.xml.catalog`.
"""

from pathlib import Path

FOLDER: Path = Path(__file__).resolve().parent
"""The folder with the schemas."""
