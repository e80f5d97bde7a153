"""Standard error: where notes, figures and reasoning go."""

from __future__ import annotations

import os
from typing import TextIO

from rich import console as rich_console
from rich.text import Text

from .characters import harmless

__all__ = ["Console", "console", "is_terminal", "remark"]


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
