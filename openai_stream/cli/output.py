"""How an answer is shown: text as it comes, or one event a line.

Standard output gets the answer and nothing else; reasoning, notes and figures go to standard error.
On a terminal no character of an answer is obeyed; a pipe or a file gets the text as it is.
"""

from __future__ import annotations

import codecs
import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.text import Text

from openai_stream import Restarted

from .characters import harmless, json_line
from .endpoints import Endpoint, Reading
from .failures import Failure, told
from .notes import console

__all__ = [
    "Lines",
    "Output",
    "Prose",
    "standard_output",
]


def standard_output() -> TextIO:
    """Where answers go.

    :raises Failure: there is none.
    """
    if sys.stdout is None:
        raise Failure("standard output is closed")
    return sys.stdout


@functools.cache
def _encoder(encoding: str) -> Callable[[str], bytes]:
    """One for all that is written: some encodings begin with a mark, which is to come once."""
    return codecs.getincrementalencoder(encoding)("replace").encode


class Output(ABC):
    """Takes the events of one answer after the other."""

    @abstractmethod
    def event(self, event: Any) -> None:
        """Show an event."""

    @abstractmethod
    def restarted(self, restarted: Restarted) -> None:
        """What came before is void."""

    @abstractmethod
    def whole(self, answer: Any) -> None:
        """Show an answer that did not come in events."""

    @abstractmethod
    def end(self) -> None:
        """There is no more to show, whatever the reason."""


class Lines(Output):
    """Each event as a line of JSON, with all that the server sent."""

    def __init__(self) -> None:
        self._out = standard_output().buffer

    def _write(self, value: Any) -> None:
        self._out.write(json_line(value))
        self._out.flush()

    def event(self, event: Any) -> None:
        self._write(event.to_dict())

    def restarted(self, restarted: Restarted) -> None:
        self._write({"restarted": restarted.attempt, "error": str(restarted.error)})

    def whole(self, answer: Any) -> None:
        self._write(answer.to_dict())

    def end(self) -> None:
        pass


class Prose(Output):
    """The text of the first choice, as it comes.

    :param endpoint: which kind of events.
    :param held: the answer may turn out void, so where it cannot be taken back, in a pipe or a
        file, it is held until its end.
    :param body: of the requests, where it is known.
    """

    def __init__(
        self, endpoint: Endpoint, held: bool = False, body: Mapping[str, Any] | None = None
    ) -> None:
        self._endpoint = endpoint
        self._reading = Reading(endpoint, body)
        out = standard_output()
        self._terminal = out.isatty()
        self._out = out.buffer
        self._encode = _encoder(out.encoding)
        self._notes = console()
        self._held: list[str] | None = [] if held and not self._terminal else None
        # Whether the last line of each is still open.
        self._text_open = False
        self._notes_open = False

    def event(self, event: Any) -> None:
        if reasoning := self._reading.reasoning(event):
            self._reason(reasoning)
        if text := self._reading.text(event):
            if self._notes_open:
                self._close_notes()
            if self._held is None:
                self._write(text)
            else:
                self._held.append(text)

    def _write(self, text: str) -> None:
        # Before it is shown, as a Ctrl-C may come as soon as it is.
        self._text_open = not text.endswith("\n")
        text = harmless(text) if self._terminal else text
        # Half a character, which a server may send, or one that the terminal does not have.
        self._out.write(self._encode(text))
        self._out.flush()

    def _reason(self, reasoning: str) -> None:
        if self._terminal:
            self._close_text()
        self._notes_open = not reasoning.endswith("\n")
        self._notes.print(Text(harmless(reasoning), style="dim"), end="")

    def _close_text(self) -> None:
        if self._text_open:
            self._write("\n")

    def _close_notes(self) -> None:
        if self._notes_open:
            self._notes.print()
            self._notes_open = False

    def restarted(self, restarted: Restarted) -> None:
        self._reading = self._reading.anew()
        if self._held is not None:
            self._held.clear()
            return
        self._close_text()
        self._close_notes()
        self._notes.print(
            Text(f"[broken off, and starting again: ignore the above ({told(restarted.error)})]")
        )

    def whole(self, answer: Any) -> None:
        self._write(self._endpoint.said(answer))
        self.end()

    def end(self) -> None:
        self._reading = self._reading.anew()
        if self._held:
            self._write("".join(self._held))
            self._held.clear()
        self._close_text()
        self._close_notes()
