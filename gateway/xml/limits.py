"""What a port allows in a file; travels to the worker process as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

SchemaSet = tuple[tuple[str, ...], str]
"""What names the schemas of a site: their folders, and a text that changes with their content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRules:
    """The limits and switches for reading one file.

    Units: sizes in bytes as received. An envelope of `max_envelope_bytes` or more is refused alone; one that
    goes on beyond `hard_envelope_bytes` refuses the whole file.
    Shape: `schema_folders` are absolute folders with the port's own document schemas; `schema_version` is any
    text that changes whenever their content does, so that a worker knows when to load them again.
    Source: AIF reference, section 5.3; reliability reference, sections 3.2 and 4.1.
    """

    max_file_bytes: int = 2_000_000_000
    max_envelope_bytes: int = 10_000_000
    hard_envelope_bytes: int = 32_000_000
    max_envelopes: int = 500_000
    max_attributes: int = 100
    max_memory_bytes: int = 1_000_000_000
    strict_header: bool = False
    validate: bool = True
    schema_folders: tuple[str, ...] = ()
    schema_version: str = ""

    @property
    def schemas(self) -> SchemaSet:
        """Return what names the schemas: a worker knows those it was started for, and no others."""
        return self.schema_folders, self.schema_version

    def to_json(self) -> str:
        """Write the rules for a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ReadRules":
        """Read back what `to_json` wrote."""
        fields: Mapping[str, object] = json.loads(text)
        folders = fields["schema_folders"]
        assert isinstance(folders, list)
        return cls(**{**fields, "schema_folders": tuple(folders)})  # type: ignore[arg-type]  # our own JSON
