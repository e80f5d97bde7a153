"""Standard error: where notes, figures and reasoning go."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich import console as rich_console
from rich.text import Text

from openai_stream.errors import ASK_AGAIN

from .characters import harmless
from .options import as_options

__all__ = ["Console", "console", "is_terminal", "remark", "warnings_told"]


_OF_A_RESTART = "Asking for the answer again"


class Console(rich_console.Console):
    """A console that leaves the end of the program, when its reader has gone, to the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Standard error: styled on a terminal, plain elsewhere and where ``NO_COLOR`` asks for it."""
    plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        stderr=True, soft_wrap=True, highlight=False, color_system=None if plain else "auto"
    )


def remark(text: str) -> None:
    """A note of our own on standard error."""
    console().print(Text(f"[{harmless(text)}]", style="dim"))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sits there; a standard stream may also be closed."""
    return stream is not None and not stream.closed and stream.isatty()


class _Remarks(logging.Handler):
    """Shows the library's warnings, such as a wait before a retry, as remarks."""

    def __init__(self, restarts: bool) -> None:
        super().__init__(logging.WARNING)
        self._restarts = restarts

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = " ".join(record.getMessage().split())
            if _OF_A_RESTART in text and not self._restarts:
                return
            # That asking again may help need not be said: it is what happens now.
            remark(as_options(text.replace(f"{ASK_AGAIN}. ", ""), ""))
        except Exception:  # standard error may have gone, and a thread of the library's is here
            self.handleError(record)


@contextmanager
def warnings_told(restarts: bool) -> Iterator[None]:
    """Meanwhile, what the library warns of is a note on standard error.

    :param restarts: a restart too. Where the text is shown as it comes, it is reported in its
        place between the void text and the new one; the thread that warns knows no such place.
    """
    log = logging.getLogger("openai_stream")
    handler = _Remarks(restarts)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
