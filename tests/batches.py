"""What the tests of batches share: prompts, what a server answers, and what becomes of it."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from processes import PATIENCE

from openai_stream.testing import (
    Fin,
    Request,
    Reset,
    Script,
    answer,
    chat_chunks,
    error_answer,
)

BATCH = ("batch", "prompts.jsonl", "-o", "answers.jsonl")


def write(path: Path, prompts: Iterable[Any]) -> None:
    path.write_text("".join(f"{json.dumps(prompt)}\n" for prompt in prompts))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of answers; each must be whole."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def question(request: Request) -> str:
    return str(request.json["messages"][-1]["content"])


def content(record: dict[str, Any]) -> str:
    return str(record["response"]["body"]["choices"][0]["message"]["content"])


def echo(request: Request) -> Script:
    return answer(chat_chunks(f"answer to {question(request)}", usage=True))


def answered(text: str) -> list[str]:
    """What a file of answers holds, in the order of the alphabet."""
    return sorted(content(json.loads(line)) for line in text.splitlines())


class Faulty:
    """Answers, but for one request in ten, which meets a fault or a rate limit."""

    def __init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311
        self._lock = threading.Lock()
        self.faults: Counter[str] = Counter()

    def __call__(self, request: Request) -> Script:
        chunks = chat_chunks(f"answer to {question(request)}", usage=True)
        slow_down = {"retry-after-ms": "20"}
        scripts: dict[str, Script] = {
            "rate limit": error_answer(429, "slow down", headers=slow_down),
            "error": error_answer(500, "oops"),
            "cut": answer([*chunks[:2], Fin()]),
            "reset": answer([*chunks[:2], Reset()]),
        }
        with self._lock:
            fault = self._random.random() < 0.1
            name = self._random.choice(list(scripts)) if fault else "none"
            self.faults[name] += 1
        return scripts.get(name, answer(chunks))


def wait_for_lines(path: Path, count: int) -> int:
    """Wait until so many lines have been written."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = path.read_bytes().count(b"\n") if path.exists() else 0
        if lines >= count:
            return lines
        time.sleep(0.005)
    raise TimeoutError(f"no {count} answers")


def summary_of(said: str) -> str:
    """What a batch says at its end, without the lines on how far it is, which come every ten
    seconds: on a busy machine there are some.
    """
    return re.sub(r"^\d+/\d+, .*\n", "", said, flags=re.MULTILINE)


def check_all(path: Path, count: int) -> None:
    """Every prompt has its own answer, once."""
    records = read(path)
    answers = {str(record["custom_id"]).partition("-")[0]: content(record) for record in records}
    assert len(records) == count
    assert answers == {str(n): f"answer to question {n}" for n in range(1, count + 1)}
