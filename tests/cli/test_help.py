"""Each example of a ``--help`` works as it is printed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from processes import PATIENCE, Terminal

from openai_stream.cli import program
from openai_stream.cli.failures import Status
from openai_stream.testing import Request, Script, ScriptedServer, answer, chat_chunks
from openai_stream.testing import completion_chunks as text_chunks

RESPONSE: list[dict[str, Any]] = [
    {"type": "response.output_text.delta", "delta": "Blue"},
    {"type": "response.completed", "response": {"output": []}},
]


def examples() -> Iterator[str]:
    for command in program.commands.values():
        text = command.get_help(click.Context(command, info_name=command.name))
        found = [line.strip() for line in text.partition("Examples:\n")[2].splitlines()]
        assert found, f"{command.name} has no examples"
        yield from found


EXAMPLES = list(dict.fromkeys(examples()))
WITH_A_MODEL = [example for example in EXAMPLES if "--local" in example]
TALKING = ["openai-stream chat"]
SERVING = [example for example in EXAMPLES if " serve " in example or "--proxy" in example]
PLAIN = [one for one in EXAMPLES if one not in (*WITH_A_MODEL, *TALKING, *SERVING)]


def handler(request: Request) -> Script:
    if request.path.endswith("/responses"):
        return answer(RESPONSE, done=False)
    if request.path.endswith("chat/completions"):
        return answer(chat_chunks("Blue", usage=True))
    return answer(text_chunks("Blue"))


@pytest.fixture
def folder(
    request: pytest.FixtureRequest,
    server: ScriptedServer,
    environment: dict[str, str],
    tmp_path: Path,
) -> dict[str, str]:
    """The files that the example names; where the command is found."""
    server.always(handler)
    (tmp_path / "notes.txt").write_text("The sky is blue.\n")
    (tmp_path / "story.txt").write_text("Once upon a time")
    (tmp_path / "prompts.jsonl").write_text('"Why is the sky blue?"\n')
    bin = Path(sys.executable).parent
    if shutil.which("openai-stream", path=str(bin)) is None:  # the library is not installed
        bin = tmp_path / "bin"
        bin.mkdir()
        (bin / "openai-stream").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m openai_stream "$@"\n'
        )
        (bin / "openai-stream").chmod(0o755)
    path = f"{bin}:{environment['PATH']}"
    for name in ("talk.rec", "more.rec"):
        if name not in request.node.name:
            continue
        subprocess.run(
            ["openai-stream", "record", name, "chat", "Why is the sky blue?"],
            env={**environment, "PATH": path},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    return {**environment, "PATH": path}


def test_all_kinds_are_there() -> None:
    assert len(WITH_A_MODEL) == 1
    assert TALKING[0] in EXAMPLES
    assert len(SERVING) == 4


@pytest.mark.parametrize("example", PLAIN)
def test_examples(folder: dict[str, str], tmp_path: Path, example: str) -> None:
    result = subprocess.run(
        ["bash", "-c", f"set -e; {example}"],
        env=folder,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    if "--check" in example:
        assert not (tmp_path / "answers.jsonl").exists()
        return
    shown = (tmp_path / "answers.jsonl").read_text() if "batch" in example else result.stdout
    assert ("delta" if "head -n 1" in example else "Blue") in shown


def test_the_example_of_a_conversation(folder: dict[str, str], tmp_path: Path) -> None:
    shown = Terminal(["bash", "-c", TALKING[0]], folder, tmp_path, 80)
    try:
        shown.expect("> ")
        shown.send("Why?\r")
        shown.expect("Blue\r\n")
        shown.expect("> ")
        shown.send("\x04")
        assert shown.end() == 0
    finally:
        shown.close()


@pytest.mark.parametrize("example", SERVING)
def test_examples_of_servers(folder: dict[str, str], tmp_path: Path, example: str) -> None:
    shown = Terminal(["bash", "-c", example], folder, tmp_path, 80)
    try:
        shown.expect("http://127.0.0.1:")
        shown.send("\x03")
        assert shown.end() == 130
    finally:
        shown.close()


def test_every_exit_status_is_in_the_help() -> None:
    text = program.get_help(click.Context(program, info_name="openai-stream"))
    lines = text.partition("Exit status:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == [f"{status:d}" for status in Status]
