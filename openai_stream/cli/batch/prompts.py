"""The file of prompts: its lines, read as they are needed, and what each of them asks."""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import attrs

from openai_stream.cli.endpoints import CHAT, ENDPOINTS
from openai_stream.cli.failures import Failure, Status
from openai_stream.strict_json import loads_finite

__all__ = ["WHOLE", "Defaults", "Key", "Prompt", "count_prompts", "lines_of", "read_prompts"]

#: What tells one prompt from the other: an id of the user's, or number and content of the line.
Key = str | int

_IDS = ("custom_id", "id")
_QUESTIONS = ("messages", "prompt", "input", "instructions")
#: The endpoints that answer in one piece.
WHOLE = ("/embeddings", "/moderations", "/rerank", "/score")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@attrs.frozen
class Prompt:
    """One line of the prompts.

    :param key: the same in each run.
    :param path: the endpoint's.
    :param body: of the request.
    :param error: why the line is not a prompt, ``None`` if it is one.
    :param asked: what of the request the command line said, as JSON.
    """

    key: Key
    path: str = CHAT.path
    body: dict[str, Any] = attrs.field(factory=dict, repr=False)
    error: str | None = None
    asked: str = "{}"

    @property
    def tokens(self) -> int:
        """About how many the prompt has."""
        return sum(map(_letters, (self.body.get(field) for field in _QUESTIONS))) // 4


def _letters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_letters, value))
    return sum(map(_letters, value.values())) if isinstance(value, dict) else 0


@attrs.frozen
class Defaults:
    """What a line does not say.

    :param model: the model.
    :param system: what the model is told first.
    :param fields: other fields of the request.
    :param id_field: the field with the id of a line, ``None`` for the usual ones.
    """

    model: str
    system: str | None = None
    fields: dict[str, Any] = attrs.field(factory=dict)
    id_field: str | None = None

    def asked(self, body: Mapping[str, Any], whole: bool, told: bool) -> str:
        """What of these a request has, as JSON: the same for the same, to be compared later.

        :param body: what the line itself says.
        :param whole: it says all but the model.
        :param told: it says itself what the model is told first.
        """
        used: dict[str, Any] = {} if "model" in body else {"--model": self.model}
        if not whole:
            used |= {f"--option {key}": v for key, v in self.fields.items() if key not in body}
            if self.system is not None and not told:
                used["--system"] = self.system
        # Of which there are few, and prompts many.
        return sys.intern(json.dumps({key: _short(value) for key, value in used.items()}))


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= 200:
        return value
    return (
        f"{text[:60]}… (sha256 {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]})"
    )


def lines_of(file: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a file; of a pipe or a terminal ``None`` while the next has not come yet.

    Nothing of the file may have been read.
    """
    if file.seekable():
        yield from file
        return
    poll = select.poll()
    poll.register(file, select.POLLIN)
    begun: list[bytes] = []
    while True:
        if not poll.poll(0):
            yield None
            continue
        block = os.read(file.fileno(), 65536)
        if not block:
            break
        *lines, rest = block.split(b"\n")
        for line in lines:
            yield b"".join([*begun, line])
            begun.clear()
        begun.append(rest)
    yield b"".join(begun)


def count_prompts(file: IO[bytes], name: str, defaults: Defaults) -> int | None:
    """How many prompts a file has; ``None`` if it can be read only once.

    All are looked at, so that what is wrong with the file shows before the first is asked.

    :param name: the file's, for messages.
    :raises Failure: two lines have the same id, or no line is a prompt.
    """
    if not file.seekable():
        return None
    begin = file.tell()  # of standard input, some may have been read by another program
    count = wrong = 0
    first: str | None = None
    for prompt in read_prompts(file, name, defaults):
        count += 1
        if prompt is not None and prompt.error is not None:
            wrong += 1
            first = first or prompt.error
    file.seek(begin)
    # One that is wrong is reported with its answers; of many, something else was given.
    if wrong == count > 1:
        raise Failure(f"{name}: none of its {count} lines is a prompt: {first}", Status.USAGE)
    return count


def read_prompts(
    lines: Iterable[bytes | None], name: str, defaults: Defaults, strict: bool = True
) -> Iterator[Prompt | None]:
    """The prompts of the lines, each once it is wanted; empty lines are left out.

    :param lines: of :func:`lines_of`; where one is ``None``, the prompt is too.
    :param name: the file's, for messages.
    :param strict: an id that comes twice ends it; otherwise it is the second prompt's error.
    :raises Failure: two lines have the same id, or it is not a file of lines in UTF-8.
    """
    seen: dict[str, int] = {}
    number = 0
    for line in lines:
        if line is None:
            yield None
            continue
        number += 1
        if number == 1 and line.startswith(_UTF_16):
            raise Failure(f"{name}: this is UTF-16, and must be UTF-8", Status.USAGE)
        if number == 1 and b"\0" in line:
            raise Failure(f"{name}: this is not text: there are null bytes in it", Status.USAGE)
        if line.strip():
            prompt = _parsed(number, line.strip(), defaults)
            # As text: in the API's own files an id is a string, so 7 comes back as "7".
            first = seen.setdefault(str(prompt.key), number)
            if first != number:
                error = f"line {number}: the id {prompt.key!r} is that of line {first} already"
                if strict:
                    raise Failure(f"{name}, {error}", Status.USAGE)
                prompt = attrs.evolve(prompt, error=error)
            yield prompt


def _parsed(number: int, line: bytes, defaults: Defaults) -> Prompt:
    key: Key = f"{number}-{hashlib.sha256(line).hexdigest()[:16]}"
    problem: str | None = None
    try:
        try:
            given = loads_finite(line)
        except ValueError as error:
            problem = str(error)
            given = json.loads(line)  # with a NaN in it, it still has an id
    except (ValueError, RecursionError) as error:
        return Prompt(key, error=f"line {number} is not JSON: {error}")
    if isinstance(given, str):
        given = {"prompt": given}
    if not isinstance(given, dict):
        return Prompt(key, error=f"line {number} is neither a JSON object nor a string")
    ids = _IDS if defaults.id_field is None else (defaults.id_field,)
    name = next((given[name] for name in ids if given.get(name) is not None), None)
    if name is None:
        if defaults.id_field is not None:
            return Prompt(key, error=f"line {number} has no field {defaults.id_field!r}")
        name = key
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        return Prompt(key, error=f"line {number}: the id must be a string or a whole number")
    if problem is not None:
        return Prompt(name, error=f"line {number} is not JSON: {problem}")
    path, body = CHAT.path, given.get("body")
    if isinstance(body, dict):
        known = _known(given.get("url", path))
        if known is None:
            return Prompt(name, error=f"line {number}: {_unknown(given['url'])}")
        if given.get("method", "POST") != "POST":
            return Prompt(name, error=f"line {number}: the method must be POST")
        path, asked = known, defaults.asked(body, whole=True, told=True)
    else:
        given = {k: v for k, v in given.items() if k not in (*_IDS, *ids)}
        body = {**defaults.fields, **given}
        messages = body.get("messages")
        if messages is None and isinstance(body.get("prompt"), str):
            messages = [{"role": "user", "content": body.pop("prompt")}]
        if not isinstance(messages, list):
            return Prompt(name, error=f"line {number} has no prompt, messages or body")
        told = any(
            isinstance(one, dict) and one.get("role") in ("system", "developer") for one in messages
        )
        body |= CHAT.body(messages, None if told else defaults.system)
        asked = defaults.asked(given, whole=False, told=told)
    body = {"model": defaults.model, **body}
    body.pop("stream", None)  # answers are streamed if they can be
    return Prompt(name, path, body, asked=asked)


def _known(url: Any) -> str | None:
    """The path of an endpoint that is known."""
    url = url.rstrip("/") if isinstance(url, str) else ""
    return next((path for path in (*ENDPOINTS, *WHOLE) if url.endswith(path)), None)


def _unknown(url: Any) -> str:
    known = ", ".join(f"/v1{path}" for path in (*ENDPOINTS, *WHOLE))
    return f"the url {url!r} is unknown; known are {known}"
