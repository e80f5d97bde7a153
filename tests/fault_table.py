"""The fault matrix as a page of the documentation, made of the rows that the tests play.

``test_faults.py`` fails where ``docs/faults.rst`` is not what this writes:
``python tests/fault_table.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType

from faults import GROUPS, Held, Row
from faults.row import FRAMES, LIMIT
from faults.whole import TEXT
from quirks import QUIRKS

from openai_stream import OpenAIStreamError

DOCUMENT = Path(__file__).parent.parent / "docs" / "faults.rst"

_HEAD = """\
.. Written by ``python tests/fault_table.py`` from the rows in ``tests/faults/``; change those.

The fault matrix
================

What may come over the wire instead of an answer, and what becomes of it: {count} rows, each played
over a real socket by ``tests/test_faults.py``, on every Python that the library supports. What is
played is in ``tests/faults/``. The page
*Faults compared* shows the same rows with other libraries.

*Delivered* counts the events that the consumer gets, in their order and each exactly as it was
sent, before the end; in a queue, in callbacks and in the iterator alike. The answer of most faults
has {all} events: the role, "Hello", " big", " wörld" and the ``finish_reason``; so 2 are the role
and "Hello".

*End* is ``DONE``, or the class of the exception that is raised in its place, and behind it the
class of its ``__cause__`` where there is one. Errors that are an ``APIConnectionError`` or an
``APIStatusError`` are raised by the call itself, the others where the events are read.

*Snapshot* is what ``snapshot()`` holds then, and the error's ``snapshot`` with it: the text and the
``finish_reason`` of each choice. The long text of the first tables is |text|.

The deadlines of the rows that stall are 0.2 seconds, whichever it is; ``max_event_bytes``
is {limit:,}.

.. |text| replace:: "{text}"
"""


def escaped(text: str) -> str:
    """The text as it is, for reStructuredText."""
    visible = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return re.sub(r"([\\`*_|<>])", r"\\\1", visible)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str) -> Iterator[str]:
    """The lines of a list-table."""
    yield from [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for first, *others in [header, *rows]:
        yield f"   * - {first}"
        yield from (f"     - {cell}".rstrip() for cell in others)
    yield ""


def class_name(cls: type) -> str:
    """A foreign class by the package that users know it from."""
    package = cls.__module__.partition(".")[0]
    return f"``{cls.__name__ if package == 'builtins' else f'{package}.{cls.__name__}'}``"


def end_of(row: Row) -> str:
    if row.error is None:
        return "``DONE``"
    causes = row.cause if isinstance(row.cause, tuple) else (row.cause,)
    names = [class_name(cause) for cause in causes if cause is not NoneType]
    perhaps = " or none" if NoneType in causes else ""
    return f"``{row.error.__name__}``" + (f" from {names[0]}{perhaps}" if names else "")


def held_in(held: Held) -> str:
    def choice(text: str, finish_reason: str | None) -> str:
        if text == TEXT:
            shown = "|text|"
        elif len(text) > 40:
            shown = f'"{escaped(text[:10])}…" ({len(text):,} characters)'
        else:
            shown = f'"{escaped(text)}"'
        return f"{shown}, {finish_reason}" if finish_reason else shown

    return "; ".join(choice(*one) for _, one in sorted(held.items())) or "nothing"


def quirk_rows() -> Iterator[Sequence[str]]:
    """The quirks are rows too, with a page and tests of their own."""
    for quirk in QUIRKS:
        error: type[OpenAIStreamError] | None = quirk.error
        end = "``DONE``" if error is None else f"``{error.__name__}``"
        message = quirk.message or {}
        content = message.get("content")
        if isinstance(content, list):
            content = " ".join(one.get("text", one["type"]) for one in content)
        calls = [one["function"]["name"] for one in message.get("tool_calls", ())]
        shown = f'"{content}"' if content else f"calls of {', '.join(calls)}" if calls else ""
        reason = f", {quirk.finish_reason}" if shown and quirk.finish_reason else ""
        yield quirk.name, str(len(quirk.events)), end, shown + reason or "nothing"


def document() -> str:
    """The page of the documentation."""
    count = len(QUIRKS) + sum(map(len, GROUPS.values()))
    lines = [_HEAD.format(count=count, all=len(FRAMES), limit=LIMIT, text=escaped(TEXT))]
    groups: dict[str, Iterable[Sequence[str]]] = {
        title: (
            (escaped(row.name), str(len(row.events)), end_of(row), held_in(row.held))
            for row in rows
        )
        for title, rows in GROUPS.items()
    }
    for title, rows in [*groups.items(), ("Quirks", quirk_rows())]:
        lines += [title, "-" * len(title), ""]
        if title == "Quirks":
            lines += ["What each is, and what is made of it, is told on a page of its own.", ""]
        lines += table(("Row", "Delivered", "End", "Snapshot"), rows, "40 8 27 25")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
