"""A look over the prompts, without asking; and the same requests for the API's own batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from openai_stream.cli.characters import harmless, json_line
from openai_stream.cli.failures import Status

from .answers import read_answers
from .prompts import Prompt

__all__ = ["check", "present", "write_requests"]

_MOST_SHOWN = 20  # lines that are wrong


def present(path: str | None, reject: frozenset[str]) -> set[str]:
    """The keys of the prompts that have an answer; the file is only read.

    :raises Failure: it is something else.
    """
    if path is None or path == "-" or not Path(path).is_file():
        return set()
    with Path(path).open("rb") as file:
        return {line.key for line in read_answers(file, path, reject) if line.key is not None}


def check(prompts: Iterator[Prompt | None], name: str, done: set[str]) -> Status:
    """Tell on standard output what a run would ask.

    :param name: the file's.
    :param done: the keys of the prompts that have an answer.
    """
    paths: Counter[str] = Counter()
    wrong = answered = tokens = 0
    for prompt in prompts:
        if prompt is None:
            continue
        if prompt.error is not None:
            wrong += 1
            if wrong <= _MOST_SHOWN:
                click.echo(f"{name}: {harmless(prompt.error)}")
            continue
        paths[prompt.path] += 1
        answered += str(prompt.key) in done
        tokens += 0 if str(prompt.key) in done else prompt.tokens
    if wrong > _MOST_SHOWN:
        click.echo(f"{name}: and {wrong - _MOST_SHOWN} more")
    total = paths.total()
    where = ", ".join(f"{count} to /v1{path}" for path, count in sorted(paths.items()))
    click.echo(f"{name}: {_count(total, 'prompt')}{f' ({where})' if where else ''}, {wrong} wrong")
    click.echo(
        f"{answered} answered already, {total - answered} to be asked: about "
        f"{_count(tokens, 'token')} of prompts"
    )
    return Status.USAGE if wrong else Status.DONE


def write_requests(prompts: Iterator[Prompt | None], done: set[str], file: IO[bytes]) -> int:
    """Write what has no answer yet as a file that the API's own batches take.

    :param done: the keys of the prompts that have an answer.
    :returns: how many lines are wrong; they are left out.
    """
    wrong = 0
    for prompt in prompts:
        if prompt is None or str(prompt.key) in done:
            continue
        if prompt.error is not None:
            wrong += 1
            continue
        request = {
            "custom_id": str(prompt.key),
            "method": "POST",
            "url": f"/v1{prompt.path}",
            "body": prompt.body,
        }
        file.write(json_line(request))
    return wrong


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
