"""Writes the JSON Schema of params.yaml, by which editors complete and check it, and stages check it (`make schema`).

The part about the pipeline comes from `stages.support.params`, the part about Keras from the installed Keras.
"""

import argparse
import json
import re

from stages.common.files import write_text
from stages.models.models import import_keras
from stages.support.errors import PipelineError, command
from stages.support.keras_api import SCHEMA_PATH
from stages.support.params import Params
from tools.schema.keras_classes import keras_definitions


def json_schema() -> str:
    """Returns the JSON Schema of params.yaml, as text with one definition a line."""
    schema = Params.model_json_schema()
    definitions = schema.pop("$defs") | keras_definitions(import_keras())
    lines = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in definitions.items())
    rest = json.dumps(schema, ensure_ascii=False).removeprefix("{")
    text = '{"$defs": {\n' + ",\n".join(lines) + f"\n}},\n{rest}\n"
    return re.sub(r'"keras": "(\w+)"', r'"$ref": "#/$defs/\1"', text)  # written by keras_api.OneOf


@command
def main() -> None:
    """Writes the JSON Schema of params.yaml."""
    parser = argparse.ArgumentParser(prog="make schema", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    arguments = parser.parse_args()
    text = json_schema()
    if not arguments.check:
        write_text(SCHEMA_PATH, text)
    elif SCHEMA_PATH.read_text(encoding="utf-8") != text:
        raise PipelineError(
            "stages/params.schema.json: out of date with stages/support/params.py or Keras; run: make schema"
        )


if __name__ == "__main__":
    main()
