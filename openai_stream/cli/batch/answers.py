"""The file of answers: each is written whole, and each prompt has one at most.

A line is one of the API's own batch files: ``custom_id`` names the prompt, ``response`` has the
``status_code``, the ``request_id`` and the ``body``, and ``error`` is null; ``asked`` is ours, and
has what the command line said of the request. A line whose ``error`` is not null, or whose status
is not that of an answer, is a failure; a later run drops it and asks again.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import attrs

from openai_stream.cli.characters import harmless, json_line
from openai_stream.cli.failures import Failure, Status
from openai_stream.cli.files import File, open_stream

from .prompts import Key, Prompt

__all__ = ["Answers", "Line", "finish_reasons", "read_answers", "rejected"]

# Of lines that were torn: ours, and those of former versions.
_BEGINNINGS = (b'{"id": "batch_req_', b'{"custom_id": ')
#: Names of the same.
_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "end_turn": "stop"}


def finish_reasons(body: Any) -> set[str]:
    """Why the choices of an answer ended, a response's by the names of a chat's."""
    if not isinstance(body, dict):
        return set()
    choices = body.get("choices")
    found = [
        choice.get("finish_reason")
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict)
    ]
    details = body.get("incomplete_details")
    if isinstance(details, dict):
        found.append(details.get("reason"))
    return {_REASONS.get(reason, reason) for reason in found if isinstance(reason, str)}


def rejected(body: Any, reject: frozenset[str]) -> str | None:
    """Why an answer is not taken.

    :param reject: the finish reasons that are not.
    """
    return min(finish_reasons(body) & reject, default=None)


@attrs.frozen
class Line:
    """A line of answers.

    :param text: as it is.
    :param key: of the prompt; ``None`` if the line is to be dropped: a failure, or torn.
    :param asked: see :class:`~.prompts.Prompt`; ``None`` if another program wrote it.
    :param model: that answered.
    """

    text: bytes = attrs.field(repr=False)
    key: str | None = None
    asked: str | None = None
    model: str | None = None


def read_answers(
    file: IO[bytes], name: str, reject: frozenset[str] = frozenset()
) -> Iterator[Line]:
    """The lines of a file of answers.

    :param name: the file's, for messages.
    :param reject: finish reasons of answers that are to be asked again.
    :raises Failure: it is something else.
    """
    for number, text in enumerate(file, start=1):
        try:
            record = json.loads(text)
            key, response = record["custom_id"], record["response"]
            failed = record.get("error") is not None
            whole = isinstance(key, (str, int))
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
        if whole:
            body = response.get("body") if isinstance(response, dict) else None
            status = response.get("status_code", 200) if isinstance(response, dict) else None
            # The API's own files have the refusal of a request as the response to it.
            if failed or status not in range(200, 300) or rejected(body, reject) is not None:
                yield Line(text)
                continue
            asked, model = (
                record.get("asked"),
                body.get("model") if isinstance(body, dict) else None,
            )
            yield Line(
                text,
                str(key),
                sys.intern(json.dumps(asked)) if isinstance(asked, dict) else None,
                sys.intern(model) if isinstance(model, str) else None,
            )
        elif not text.endswith(b"\n") and any(
            text.startswith(beginning[: len(text)]) for beginning in _BEGINNINGS
        ):
            yield Line(text)
        elif number > 1 and not text.strip(b"\0\r\n\t "):  # as files that were joined have, and
            yield Line(text)  # one that was written when the power went
        else:
            raise Failure(
                f"{name}: line {number} is not a line of answers, so the file is left alone",
                Status.USAGE,
            )


class Answers:
    """The file of answers: what is in it already, and a way to add to it.

    A stream, a pipe say, is only written to. Opening an ordinary file puts it in order: failures of
    former runs, and a last line that was torn when a run was killed, are dropped, in one step that
    either happens or not. A file that holds something else is left alone. No other run can write to
    it meanwhile.

    :param file: is made if it is not there.
    :param reject: finish reasons of answers that are dropped as failures are.
    :raises Failure: it is not a file of answers, or another run is writing it.
    """

    def __init__(self, file: File, reject: frozenset[str] = frozenset()) -> None:
        self._path = Path(os.path.realpath(file.path or ""))  # which opens no circle of links
        self._reject = reject
        # By the keys of the prompts that have an answer: what was asked, and of which model.
        self._done: dict[str, tuple[str | None, str | None]] = {}
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
            for line in self._lines(old):
                if line.key is None or line.key in self._done or not line.text.endswith(b"\n"):
                    in_order = False
                if line.key is not None:
                    self._done.setdefault(line.key, (line.asked, line.model))
            if not in_order:
                old.seek(0)
                self._rewrite(old)

    def _lines(self, file: IO[bytes]) -> Iterator[Line]:
        return read_answers(file, str(self._path), self._reject)

    def _rewrite(self, old: IO[bytes]) -> None:
        """Put a file with the answers alone in the place of the old one."""
        # Its own, whatever else is in the folder, and nobody's to read before the old one's mode.
        draft = self._path.with_name(f".{self._path.name[:100]}.{uuid.uuid4().hex}.tmp")
        file = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            written: set[str] = set()
            with open(file, "wb", closefd=False) as new:
                for line in self._lines(old):
                    if line.key is not None and line.key not in written:
                        written.add(line.key)
                        new.write(line.text.rstrip(b"\n") + b"\n")
            status = os.fstat(self._file)
            with suppress(PermissionError):
                os.fchown(file, status.st_uid, status.st_gid)
            os.fchmod(file, status.st_mode & 0o7777)
            os.fsync(file)
            self._lock(file)
            draft.replace(self._path)
        except BaseException as error:
            os.close(file)
            draft.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:
                why = f"cannot be put in order, and is as it was: {error.strerror}"
                raise Failure(f"{self._path}: {why}") from error
            raise
        os.close(self._file)
        self._file = file

    def __contains__(self, key: Key) -> bool:
        """Whether a prompt has an answer."""
        return str(key) in self._done

    def difference(self, prompt: Prompt) -> str | None:
        """What is asked now and was not when a prompt was answered.

        :param prompt: that has an answer.
        :returns: ``None`` if it is the same, as far as can be known.
        """
        asked, model = self._done[str(prompt.key)]
        if asked is None:
            wanted = prompt.body.get("model")
            if model is None or not isinstance(wanted, str) or _same_model(model, wanted):
                return None
            return f"the model was {model!r} and is {wanted!r}"
        if asked == prompt.asked:
            return None
        before, now = json.loads(asked), json.loads(prompt.asked)
        return "; ".join(
            f"{name} {_value('was', before, name)} and {_value('is', now, name)}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        )

    def write(
        self, prompt: Prompt, response: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        """Add a line, in one write; when this returns, the system has it."""
        record = {
            "id": f"batch_req_{uuid.uuid4().hex}",
            "custom_id": prompt.key,
            "response": response,
            "error": error,
            "asked": json.loads(prompt.asked),
        }
        line = memoryview(json_line(record))
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except BrokenPipeError:
            raise  # whoever read it has gone, which is no failure of the file's
        except OSError as failure:
            why = f"{self._path}: {failure.strerror}; the lines before are kept"
            raise Failure(why) from failure
        if error is None:
            self._done[str(prompt.key)] = (prompt.asked, None)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _value(verb: str, asked: dict[str, Any], name: str) -> str:
    if name not in asked:
        return f"{verb} not given"
    return f"{verb} {harmless(json.dumps(asked[name], ensure_ascii=False))}"


def _same_model(one: str, other: str) -> bool:
    """Whether one name may be the other's, with a date or who makes it."""
    first, second = (name.rpartition("/")[2].lower() for name in (one, other))
    return first.startswith(second) or second.startswith(first)
