"""A long answer that survives the death of the program: run it again, and it goes on.

The response runs in the background, at the server. Each event's number and text go into a journal
before anything else is done with them. A second run finds the journal, prints what it holds, and
asks for the rest only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai_stream import Client, EventQueue, OpenAIStreamError, Response, ResponseEvent, Restarted


class Journal:
    """What has come of one response, a line of JSON an event; what is half written does not count.

    :param path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.ident: str | None = None
        self.last: int | None = None
        self.text = ""
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        for line in whole:
            self._count(json.loads(line))
        self._file = path.open("r+b" if lines else "wb")
        self._file.truncate(sum(map(len, whole)))
        self._file.seek(0, os.SEEK_END)

    def _count(self, entry: dict[str, Any]) -> None:
        self.ident = entry.get("id", self.ident)
        self.last = entry.get("number", self.last)
        self.text += entry.get("text", "")

    def add(self, event: ResponseEvent) -> str:
        """Keep an event.

        :returns: the text that it adds.
        """
        entry: dict[str, Any] = {"number": event.sequence_number}
        if self.ident is None and event.response is not None:
            entry["id"] = event.response.id
        if event.type == "response.output_text.delta" and isinstance(event.delta, str):
            entry["text"] = event.delta
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        self._count(entry)
        text: str = entry.get("text", "")
        return text

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def begin_or_resume(
    client: Client, journal: Journal, model: str, question: str
) -> EventQueue[ResponseEvent | Restarted, Response]:
    """The events that the journal does not have."""
    if journal.ident is not None:
        return client.resume_response(journal.ident, journal.last, restarts=5)
    return client.create_response(
        model=model, input=question, background=True, stream=True, restarts=5
    )


def new_text(
    events: EventQueue[ResponseEvent | Restarted, Response], journal: Journal
) -> Iterator[str]:
    """The text that comes, once it is in the journal."""
    for event in events:
        if isinstance(event, Restarted):  # it broke off before it had an id: nothing was written
            continue
        yield journal.add(event)


def main() -> int:
    """Ask the question of the command line, or go on with its answer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("journal", type=Path)
    parser.add_argument("question", nargs="?", default="Tell me about the sea")
    parser.add_argument("--model", default=os.environ.get("OPENAI_MODEL", "gpt-6-luna"))
    options = parser.parse_args()
    journal = Journal(options.journal)
    print(journal.text, end="", flush=True)
    try:
        with Client() as client:
            events = begin_or_resume(client, journal, options.model, options.question)
            for text in new_text(events, journal):
                print(text, end="", flush=True)
    except OpenAIStreamError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # only ``close()`` would stop the response, which so goes on
        return 130
    finally:
        journal.close()
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
