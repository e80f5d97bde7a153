"""The files of a command line: which of them are the same, and how one is opened for writing.

All are looked at before any is opened. What is written must be neither what is read nor what else
is written, by whatever name or link; nothing but the outputs is ever opened for writing.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import sys
from collections.abc import Sequence

import attrs
import click

from .failures import Failure

__all__ = ["STDERR", "STDIN", "STDOUT", "File", "check_apart", "open_stream"]

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def _descriptor(path: str, dash: int) -> int | None:
    """The descriptor of this process that a path names, if it names one.

    :param dash: which one ``-`` is.
    """
    found = _DESCRIPTOR.fullmatch(path)
    return int(found[1]) if found else {**_STANDARD, "-": dash}.get(path)


@attrs.frozen
class File:
    """A file of a command line, or a standard stream.

    :param what: it is, for messages.
    :param path: as the user names it; ``None`` if nobody did.
    :param descriptor: of this process, if that is meant.
    """

    what: str
    path: str | None = None
    descriptor: int | None = None

    @classmethod
    def read(cls, what: str, path: str) -> File:
        """One that is read; ``-`` is standard input."""
        return cls(what, path, _descriptor(path, dash=0))

    @classmethod
    def written(cls, what: str, path: str) -> File:
        """One that is written; ``-`` is standard output.

        :raises click.UsageError: the name is empty, as that of an unset variable.
        """
        if not path:
            raise click.UsageError(f"the file of {what} has an empty name")
        return cls(what, path, _descriptor(path, dash=1))

    def stat(self) -> os.stat_result | None:
        """What it is; ``None`` if it is not there yet."""
        try:
            if self.descriptor is not None:
                return os.fstat(self.descriptor)
            return None if self.path is None else os.stat(self.path)
        except OSError:
            return None


STDIN = File("standard input", descriptor=0)
STDOUT = File("standard output", descriptor=1)
STDERR = File("standard error", descriptor=2)


def check_apart(reads: Sequence[File], writes: Sequence[File]) -> None:
    """Refuse a command line that would write over what it reads, or twice into one place.

    What the user named in no argument is compared to what is named only: a shell's own ``2>&1`` is
    the user's business.

    :raises click.UsageError: naming the two.
    """
    pairs = [
        *((one, other, False) for one in writes for other in reads),
        *((one, other, True) for one, other in itertools.combinations(writes, 2)),
    ]
    for one, other, both_written in pairs:
        if (one.path is not None or other.path is not None) and _same(one, other, both_written):
            name = one.path if one.path is not None else other.path
            raise click.UsageError(
                f"{one.what} and {other.what} are the same file, {name}: one would overwrite the "
                "other"
            )


def _same(one: File, other: File, both_written: bool) -> bool:
    first, second = one.stat(), other.stat()
    if first is None or second is None:
        # A file that is not there yet has only its name, through links that lead nowhere.
        return (
            first is second
            and one.path is not None
            and other.path is not None
            and os.path.realpath(one.path) == os.path.realpath(other.path)
        )
    if not os.path.samestat(first, second):
        return False
    if stat.S_ISREG(first.st_mode):
        return True
    if STDERR in (one, other):
        return False  # notes among what goes through a pipe were asked for
    # A terminal or a socket can be read and written, and the null device be anything.
    both_ways = not stat.S_ISFIFO(first.st_mode)
    return both_written and not _is_null(first) if both_ways else True


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev


def open_stream(file: File) -> int | None:
    """A descriptor to write to, if the file is a stream: a pipe, a device, standard output.

    What the shell has opened already (``>(…)``, ``3>file``) is not opened anew: it would be another
    position in the file, and of a socket none at all.

    :returns: ``None`` if it is an ordinary file, or not there yet.
    :raises Failure: it is standard output, and that is closed.
    """
    if file.descriptor is not None:
        # The number of a closed stream may be another file's by now.
        if {1: sys.stdout, 2: sys.stderr}.get(file.descriptor, file) is None:
            raise Failure(f"{file.path}: it is closed")
        return os.dup(file.descriptor)
    status = file.stat()
    if file.path is None or status is None or stat.S_ISREG(status.st_mode):
        return None
    return os.open(file.path, os.O_WRONLY)
