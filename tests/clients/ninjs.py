"""jsonschema finds every line of a file to be ninjs 3.1: ninjs.py FILE"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = ROOT / "tests/ninjs/ninjs-schema_3.1.json"
# What the schema has from elsewhere. Barid writes no geoJSON: none is right.
GEOJSON = "https://geojson.org/schema/GeoJSON.json"
NONE = {"$schema": "https://json-schema.org/draft/2020-12/schema", "not": {}}
# Without its library a format is not checked, and nobody is told.
FORMATS = {"uri": "no uri", "date-time": "tomorrow"}


def main(path):
    schema = json.loads(SCHEMA.read_text())
    registry = Registry().with_resource(GEOJSON, Resource.from_contents(NONE))
    checker = Draft202012Validator.FORMAT_CHECKER
    for name, wrong in FORMATS.items():
        if checker.conforms(wrong, name):
            sys.exit(f"the format {name} is not checked")
    validator = Draft202012Validator(schema, registry=registry, format_checker=checker)
    count = 0
    # Not splitlines: JSON may hold other ends of lines.
    for line in Path(path).read_text().split("\n"):
        if not line:
            continue
        count += 1
        error = next(validator.iter_errors(json.loads(line)), None)
        if error is not None:
            sys.exit(f"{error.json_path}: {error.message}\n{line}")
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
