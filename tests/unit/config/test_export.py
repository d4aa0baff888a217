"""Editors get the shape of the file as JSON Schema."""

import json
from typing import Any

from gateway.config.export import json_schema


def test_schema_is_plain_json_and_every_pointer_leads_somewhere() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    pointers = {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert pointers <= set(schema["$defs"])
    assert schema["$schema"].endswith("2020-12/schema")


def test_unknown_keys_are_refused_everywhere() -> None:
    def closed(part: Any) -> bool:
        if isinstance(part, list):
            return all(closed(item) for item in part)
        if not isinstance(part, dict):
            return True
        if "properties" in part and part.get("type") == "object" and part.get("additionalProperties") is not False:
            return False
        return all(closed(item) for item in part.values())

    assert closed(json_schema())


def test_keys_are_those_of_the_file_and_described() -> None:
    process = json_schema()["$defs"]["Process"]["properties"]
    assert "validate" in process
    assert "validate_documents" not in process
    assert process["max_parallel"]["description"]


def test_references_may_stand_for_numbers_switches_and_words() -> None:
    definitions = json_schema()["$defs"]
    pointer = {"$ref": "#/$defs/Reference"}
    assert pointer in definitions["InboundPort"]["properties"]["active"]["anyOf"]
    assert pointer in definitions["Mode"]["anyOf"]
    assert pointer in definitions["Workers"]["properties"]["xml"]["anyOf"]


def test_short_forms_are_allowed() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["PythonOperation"]["anyOf"][0]["type"] == "string"
    sizes = definitions["Limits"]["properties"]["max_file_bytes"]["anyOf"]
    assert {"pattern", "type"} == set(sizes[-1])
    assert {"minimum": 0, "type": "integer"} in sizes[0]["anyOf"]
