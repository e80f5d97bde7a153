"""What the public reports: the table of what servers send, and of what programs and machines do.

The rows are in ``tests/reported/``, a file an area, and ``reported/row.py`` says what a row is.
``test_reports.py`` plays them. What a row says of commit 3d32c93 is verified, with a checkout of
it, by ``python -m benchmarks.compare_reports --before CHECKOUT -k NAME``.

``python tests/reports.py`` writes the table into the documentation, beside what other libraries
make of it (``make compare-reports``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fault_table import escaped, table
from reported import (
    answers_that_go_on,
    deltas,
    errors,
    next_turns,
    programs_command,
    programs_crowd,
    programs_process,
    programs_secrets,
    programs_sessions,
    programs_web,
    requests,
    responses,
    spellings,
)
from reported.row import Fails, Report, Situation, Whole
from reported.verdict import COMPARED, RIGHT

DOCS = Path(__file__).parent.parent / "docs"
DOCUMENT = DOCS / "reports.rst"
PEERS = DOCS / "reported_by_peers.json"
#: The other libraries, in the order of their columns.
LIBRARIES = ("openai", "openai-node", "litellm")
UNPLAYED = "\N{EN DASH}"
LONGEST = 160  # characters of a value that is shown

#: The reports by the heading that they stand under.
AREAS: dict[str, Sequence[Report]] = {
    "Failures and ends": errors.ROWS,
    "Deltas and tool calls": deltas.ROWS,
    "Responses": responses.ROWS,
    "Requests, framings and dialects": requests.ROWS,
    "Failures in other spellings": spellings.ROWS,
}
#: The situations by theirs.
PROGRAMS: dict[str, Sequence[Situation]] = {
    "Sessions, proxies and addresses": programs_sessions.ROWS,
    "Answers that go on": answers_that_go_on.ROWS,
    "Processes, signals and threads": programs_process.ROWS,
    "Many streams on one reader": programs_crowd.ROWS,
    "The command and the plugin": programs_command.ROWS,
    "Secrets": programs_secrets.ROWS,
    "Answers that are sent back": next_turns.ROWS,
    "Web pages": programs_web.ROWS,
}
REPORTS = [report for rows in AREAS.values() for report in rows]
SITUATIONS = [situation for rows in PROGRAMS.values() for situation in rows]

_HEAD = """\
.. Written by ``python tests/reports.py`` from the rows in ``tests/reported/``; change those.

Public reports
==============

What people reported in public, of servers, programs and machines, and what becomes of it here:
{count} rows, the bytes made anew. A row without a thread was found by trying to break this library.
``tests/test_reports.py`` plays each over a real socket, or names the test that does. *Before* is
what this library made of it before the reports were gathered, at commit 3d32c93.

``make compare-reports`` plays what servers send to other libraries too; it last did so on {date},
with {versions}. Each is used as its documentation shows it:

* **openai** and **openai-node** by their accumulators, ``chat.completions.stream`` and
  ``responses.stream``;
* **litellm** by ``completion`` and ``stream_chunk_builder``; of ``responses`` the last event, or
  the items that are done if that has none;
* text completions, for which none of them has an accumulator, by a plain sum.

If the right value is an error, any error of the library's own family is right; how often it asks
again is its own affair. If it is an answer, an answer is right that has the same in all that the
library can express. Otherwise the answer *looks whole* (it failed, and nobody says so), or the
library *refuses* it (an error, though the answer is whole), *leaks* an exception that is not its
own, *hangs*, or gives something wrong, which is named. "{unplayed}" was not played: the library has
no such call, or the row is newer than the last run.

What is fair to know: the rows are ours. They were looked for where answers are lost or taken for
whole, and this library was mended until it passed. The other columns say how much of this a program
that uses them has to do by itself.

"""


def thread(source: str) -> str:
    """The public thread, as a link."""
    repository, _, number = source.partition("#")
    kind = "discussions/" if number.startswith("d") else "issues/"
    address = f"https://github.com/{repository}/{kind}{number.lstrip('d')}"
    return f"`{source} <{address}>`__" if source else UNPLAYED


def right_of(row: Report) -> str:
    """The right value, in short."""
    right = row.right
    if isinstance(right, Fails):
        shown = f"``{right.error}``" + (f': "{escaped(right.said)}"' if right.said else "")
    else:
        shown = "; ".join(_shown(right)) or "a whole answer"
    return shown if row.requests is None else f"{shown}; requests: {row.requests}"


def _shown(right: Whole) -> Iterator[str]:
    given = {name: getattr(right, name) for name in COMPARED}
    if right.message is not None or right.output is not None:
        given["text"] = None  # it is in the message, nearly always
    for name, value in {**given, **right.fields}.items():
        if value is not None:
            told = json.dumps(value, ensure_ascii=True)
            told = told if len(told) <= LONGEST else f"{told[:LONGEST]}…"
            yield f"{escaped(name)} {escaped(told)}"


def _summary(verdicts: dict[str, dict[str, str]]) -> Iterator[str]:
    lines: list[Sequence[str]] = []
    for title, rows in {**AREAS, "**All**": REPORTS}.items():
        cells = [sum(row.before == RIGHT for row in rows), sum(row.ours == RIGHT for row in rows)]
        played = [verdicts.get(row.name, {}) for row in rows]
        found = [[one[name] for one in played if name in one] for name in LIBRARIES]
        others = [f"{one.count(RIGHT)} of {len(one)}" if one else UNPLAYED for one in found]
        lines.append((title, str(len(rows)), *map(str, cells), *others))
    header = ("What servers send", "Rows", "Before", "Ours", *LIBRARIES)
    yield from table(header, lines, "28 8 10 10 14 14 14")


def document() -> str:
    """The page of the documentation."""
    found = json.loads(PEERS.read_text(encoding="utf-8"))
    verdicts: dict[str, dict[str, str]] = found["verdicts"]
    count = len(REPORTS) + len(SITUATIONS)
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [_HEAD.format(count=count, date=found["date"], versions=versions, unplayed=UNPLAYED)]
    lines += _summary(verdicts)
    for title, rows in AREAS.items():
        if rows:
            lines += [title, "-" * len(title), ""]
            cells = [
                (
                    f"{escaped(row.name)} ({row.server})",
                    thread(row.source),
                    right_of(row),
                    escaped(row.before),
                    escaped(row.ours),
                    *(escaped(verdicts.get(row.name, {}).get(one, UNPLAYED)) for one in LIBRARIES),
                )
                for row in rows
            ]
            header = ("What is sent", "Thread", "Right", "Before", "Ours", *LIBRARIES)
            lines += table(header, cells, "24 12 24 8 8 8 8 8")
    for title, situations in PROGRAMS.items():
        if situations:
            lines += [title, "-" * len(title), ""]
            cells = [
                (
                    f"{row.name}: {row.situation}",
                    thread(row.source),
                    row.right,
                    row.before,
                    f"``{row.test.removeprefix('tests/')}``",
                )
                for row in situations
            ]
            columns = ("Situation", "Thread", "Right", "Before", "Test")
            lines += table(columns, cells, "30 15 25 15 15")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
