"""The command as a process of its own: through pipes, and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from machine import HELD_UP

pexpect = pytest.importorskip("pexpect")
fdpexpect = pytest.importorskip("pexpect.fdpexpect")

#: Seconds that anything may take, on a machine as busy as it is in the beginning.
PATIENCE = 50 * float(HELD_UP)
COMMAND = [sys.executable, "-m", "openai_stream"]
#: Runs a line in a shell.
SHELL = Callable[..., "subprocess.CompletedProcess[str]"]

# A terminal can be made the controlling one, to which Ctrl-C belongs, only by the process itself.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A terminal with a process on it; ``expect`` and ``send`` are those of pexpect.

    :param arguments: of the process.
    :param environment: of the process.
    :param width: of the window, in columns.
    """

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], cwd: Path, width: int
    ) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)
        self._screen = fdpexpect.fdspawn(master, timeout=PATIENCE, encoding="utf-8")
        #: Everything that was shown.
        self.shown = ""

    def expect(self, text: str) -> str:
        """Wait until the text is shown.

        :returns: what was shown before it.
        """
        self._screen.expect_exact(text)
        self.shown += self._screen.before + self._screen.after
        return str(self._screen.before)

    def send(self, keys: str) -> None:
        """Press keys."""
        self._screen.send(keys)

    def end(self) -> int:
        """Wait for the end of the process.

        :returns: its exit status.
        """
        self._screen.expect(pexpect.EOF)
        self.shown += self._screen.before
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._screen.close()
