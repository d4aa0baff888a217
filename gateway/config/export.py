"""The shape of `config.yaml` as JSON Schema, for editors that complete and check while one types."""

from typing import Any

from gateway.config.models import Settings

_REFERENCE = {
    "type": "string",
    "pattern": r"^\$\{[^{}]+\}$",
    "description": "Taken from outside: ${NAME}, ${NAME:-default} or ${file:/path}.",
}
_POINTER = {"$ref": "#/$defs/Reference"}
_ANNOTATIONS = ("title", "description", "default")


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) of the configuration as written in YAML.

    Rule: a reference such as `${NAME}` may stand where a number, a switch or one of a few words is wanted.
    """
    schema = _with_references(Settings.model_json_schema(by_alias=True, mode="validation"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Configuration of the gateway",
        "$defs": {**schema["$defs"], "Reference": _REFERENCE},
    }


def _with_references(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in {"integer", "number", "boolean"} or "enum" in schema or "const" in schema:
        kept = {key: schema[key] for key in _ANNOTATIONS if key in schema}
        return {**kept, "anyOf": [{key: item for key, item in schema.items() if key not in kept}, _POINTER]}
    closed = {"additionalProperties": False} if "patternProperties" in schema else {}
    return {key: item if key == "default" else _with_references(item) for key, item in schema.items()} | closed
