"""The file of answers: each is written whole, and each prompt has one at most.

A line is like one of the API's own batch files: ``custom_id`` names the prompt, ``response`` has
the ``status_code``, the ``request_id`` and the ``body``, and ``error`` is null. A line whose
``error`` is not null is a failure; a later run drops it and asks again.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from openai_stream.cli.characters import json_line
from openai_stream.cli.failures import Failure, Status
from openai_stream.cli.files import File, open_stream

from .prompts import Key

__all__ = ["Answers"]

_BEGINNING = b'{"custom_id": '


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
