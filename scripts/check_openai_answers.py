#!/usr/bin/env python3
"""Has OpenAI's own client read the golden answers of tests/golden/openai/answers.txt: needs the package `openai`,
never needed to build or test. Types are taken strictly, so a number written as a string would not pass, and the
client's own classes fail where a field that they need is missing."""
import pathlib
import sys

import openai
import pydantic
from openai.types import Completion, Model, chat, responses
from openai.pagination import SyncPage

TYPES = {"ChatCompletion": chat.ChatCompletion, "ChatCompletionChunk": chat.ChatCompletionChunk,
         "Completion": Completion, "Model": Model, "Models": SyncPage[Model], "Response": responses.Response,
         "Event": responses.ResponseStreamEvent}
OURS = {"Tokens", "Text", "Error"}  # of vLLM, and what the client reads without a type
FILE = pathlib.Path(__file__).parent.parent / "tests/golden/openai/answers.txt"


def main():
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    read = 0
    for name, answer in zip(lines[::2], lines[1::2]):
        kind = name.split(":")[0]
        if kind in OURS:
            continue
        if kind == "CompletionChunk":  # the client has no type of its own for them and builds them unchecked
            answer = answer.replace('"finish_reason":null', '"finish_reason":"stop"')
            kind = "Completion"
        pydantic.TypeAdapter(TYPES[kind]).validate_json(answer, strict=True)
        read += 1
    print(f"openai {openai.__version__} reads {read} answers")
    return 0 if read else 1


if __name__ == "__main__":
    sys.exit(main())
