"""The two files of a batch: prompts, read as they are needed, and answers, each written whole.

A line of answers is like one of the API's own batch files: ``custom_id`` names the prompt,
``response`` has the ``status_code``, the ``request_id`` and the ``body``, and ``error`` is null. A
line whose ``error`` is not null is a failure; a later run drops it and asks again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import attrs

from .characters import json_line
from .endpoints import CHAT, ENDPOINTS
from .failures import Failure, Status
from .files import File, open_stream

__all__ = ["Answers", "Defaults", "Key", "Prompt", "count_prompts", "lines_of", "read_prompts"]

#: What tells one prompt from the other: an id of the user's, or number and content of the line.
Key = str | int

_BEGINNING = b'{"custom_id": '
_IDS = ("custom_id", "id")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@attrs.frozen
class Prompt:
    """One line of the prompts.

    :param key: the same in each run.
    :param path: the endpoint's.
    :param body: of the request.
    :param error: why the line is no prompt, ``None`` if it is one.
    """

    key: Key
    path: str = CHAT.path
    body: dict[str, Any] = attrs.field(factory=dict, repr=False)
    error: str | None = None


@attrs.frozen
class Defaults:
    """What a line does not say.

    :param model: the model.
    :param system: what the model is told first.
    :param fields: other fields of the request.
    """

    model: str
    system: str | None = None
    fields: dict[str, Any] = attrs.field(factory=dict)


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
    :raises Failure: two lines have the same id.
    """
    if not file.seekable():
        return None
    begin = file.tell()  # of standard input, some may have been read by another program
    count = sum(1 for _ in read_prompts(file, name, defaults))
    file.seek(begin)
    return count


def read_prompts(
    lines: Iterable[bytes | None], name: str, defaults: Defaults
) -> Iterator[Prompt | None]:
    """The prompts of the lines, each once it is wanted; empty lines are left out.

    :param lines: of :func:`lines_of`; where one is ``None``, the prompt is too.
    :param name: the file's, for messages.
    :raises Failure: two lines have the same id, or it is not a file of lines in UTF-8.
    """
    seen: dict[Key, int] = {}
    number = 0
    for line in lines:
        if line is None:
            yield None
            continue
        number += 1
        if number == 1 and line.startswith(_UTF_16):
            raise Failure(f"{name}: this is UTF-16, and must be UTF-8", Status.USAGE)
        if line.strip():
            prompt = _parsed(number, line.strip(), defaults)
            first = seen.setdefault(prompt.key, number)
            if first != number:
                raise Failure(
                    f"{name}, line {number}: the id {prompt.key!r} is that of line {first} already",
                    Status.USAGE,
                )
            yield prompt


def _parsed(number: int, line: bytes, defaults: Defaults) -> Prompt:
    key: Key = f"{number}-{hashlib.sha256(line).hexdigest()[:16]}"
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Prompt(key, error=f"line {number} is not JSON: {error}")
    if isinstance(given, str):
        given = {"prompt": given}
    if not isinstance(given, dict):
        return Prompt(key, error=f"line {number} is neither a JSON object nor a string")
    name = next((given[name] for name in _IDS if given.get(name) is not None), key)
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        return Prompt(key, error=f"line {number}: the id must be a string or a whole number")
    path, body = CHAT.path, given.get("body")
    if isinstance(body, dict):
        url = str(given.get("url", path))
        known = next((path for path in ENDPOINTS if url.endswith(path)), None)
        if known is None:
            return Prompt(name, error=f"line {number}: nothing is known of the url {url!r}")
        path = known
    else:
        body = {**defaults.fields, **{k: v for k, v in given.items() if k not in _IDS}}
        messages = body.get("messages")
        if messages is None and isinstance(body.get("prompt"), str):
            messages = [{"role": "user", "content": body.pop("prompt")}]
        if not isinstance(messages, list):
            return Prompt(name, error=f"line {number} has no prompt, messages or body")
        told = any(
            isinstance(one, dict) and one.get("role") in ("system", "developer") for one in messages
        )
        body |= CHAT.body(messages, None if told else defaults.system)
    body = {"model": defaults.model, **body}
    body.pop("stream", None)  # answers are always streamed
    return Prompt(name, path, ENDPOINTS[path].with_usage(body))


class Answers:
    """The file of answers: what is in it already, and a way to add to it.

    A stream, a pipe say, is only written to. Opening an ordinary file puts it in order: failures of
    former runs, and a last line that was torn when a run was killed, are dropped, in one step that
    either happens or not. A file that holds something else is left alone. No other run can write to
    it meanwhile.

    :param file: is made if it is not there.
    :raises Failure: it is no file of answers, or another run is writing it.
    """

    def __init__(self, file: File) -> None:
        self._path = Path(file.path or "").resolve()
        #: The keys of all prompts that have an answer.
        self.done: set[Key] = set()
        stream = open_stream(file)
        if stream is not None:
            self._path, self._file = Path(file.path or ""), stream
            return
        self._file = self._locked()
        try:
            self._put_in_order()
        except BaseException:
            self.close()
            raise

    def _locked(self) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                self._lock(file)
                # Another run may have put it in order, and so in another file, just before.
                if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"{self._path}: another run is writing to it") from None

    def _put_in_order(self) -> None:
        with self._path.open("rb") as old:
            in_order = True
            for line, key in self._answers(old):
                if key is None or key in self.done or not line.endswith(b"\n"):
                    in_order = False
                if key is not None:
                    self.done.add(key)
            if not in_order:
                old.seek(0)
                self._rewrite(old)

    def _rewrite(self, old: IO[bytes]) -> None:
        """Put a file with the answers alone in the place of the old one."""
        # Its own, whatever else is in the folder, and nobody's to read before the old one's mode.
        draft = self._path.with_name(f".{self._path.name[:100]}.{uuid.uuid4().hex}.tmp")
        file = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            written: set[Key] = set()
            with open(file, "wb", closefd=False) as new:
                for line, key in self._answers(old):
                    if key is not None and key not in written:
                        written.add(key)
                        new.write(line.rstrip(b"\n") + b"\n")
            status = os.fstat(self._file)
            with suppress(PermissionError):
                os.fchown(file, status.st_uid, status.st_gid)
            os.fchmod(file, status.st_mode & 0o7777)
            os.fsync(file)
            self._lock(file)
            draft.replace(self._path)
        except BaseException:
            os.close(file)
            draft.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = file

    def _answers(self, file: IO[bytes]) -> Iterator[tuple[bytes, Key | None]]:
        """The lines, each with its key if it is an answer, and ``None`` if it is to be dropped."""
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                key, failed = record["custom_id"], record["error"] is not None
                whole = isinstance(key, (str, int)) and "response" in record
            except (ValueError, TypeError, KeyError):
                whole = failed = False
            if whole:
                yield line, None if failed else key
            elif not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                yield line, None
            else:
                raise Failure(
                    f"{self._path}: line {number} is no line of answers, so the file is left alone",
                    Status.USAGE,
                )

    def write(
        self, key: Key, response: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        """Add a line, in one write; when this returns, the system has it."""
        line = memoryview(json_line({"custom_id": key, "response": response, "error": error}))
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except BrokenPipeError:
            raise  # whoever read it has gone, which is no failure of the file's
        except OSError as failure:
            why = f"{self._path}: {failure.strerror}; the lines before are kept"
            raise Failure(why) from failure
        if error is None:
            self.done.add(key)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
