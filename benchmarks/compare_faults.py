"""The rows of the fault matrix, played to us and to what a user would pick instead.

``python -m benchmarks.compare_faults`` in an environment with the extra ``bench``, or ``make
compare-faults``, which makes one. It takes the rows that the tests play, ``tests/faults/``, judges
each by the same rule for everybody, and writes ``docs/compared_faults.rst``. Each library runs in a
process of its own: one that hangs is killed, and goes on with the next row.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import ssl
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

from fault_table import escaped, table  # noqa: E402 - the tests are no package
from faults import GROUPS, Certificates, Row, serving  # noqa: E402
from faults.row import LIMIT  # noqa: E402
from quirks import QUIRKS  # noqa: E402

from openai_stream import Client, OpenAIStreamError, Timeout  # noqa: E402
from openai_stream.testing import Connection, Repeat, Step  # noqa: E402

DOCUMENT = ROOT / "docs" / "compared_faults.rst"
SHORTEST, LONGEST = 0.5, 1.0  # seconds, of the deadlines
HANGS = 3.0  # seconds after which a row is given up
TAKES = 0.3  # seconds in which an event that has come whole should be delivered
MEMORY = 4 * 2**30  # bytes; no row needs a tenth of it


def rows_by_group() -> dict[str, list[Row]]:
    quirks = [
        Row(quirk.name.replace("``", ""), quirk.script, quirk.events, quirk.error, held={})
        for quirk in QUIRKS
    ]
    # As the rows of the same kind.
    optional = {"text/plain", "No content type"}
    return {
        **GROUPS,
        "Quirks": [
            attrs.evolve(row, others="may refuse it") if row.name in optional else row
            for row in quirks
        ],
    }


# The libraries -------------------------------------------------------------------------------
# Each reads one answer, as its own documentation shows it, and yields the events as dicts.


def ours(url: str, timeout: Timeout, authority: str) -> Iterator[Any]:
    # The certificates come from the environment, as everywhere with ``requests``.
    with Client(
        api_key="none", base_url=url, max_retries=0, max_event_bytes=LIMIT, timeout=timeout
    ) as client:
        for event in client.create_chat_completion(model="m", messages=[], stream=True):
            yield event.to_dict()


def openai(url: str, timeout: Timeout, authority: str) -> Iterator[Any]:
    import openai  # noqa: PLC0415 - each process imports its own library

    http_client = openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=authority))
    with openai.OpenAI(
        api_key="none",
        base_url=url,
        max_retries=0,
        timeout=shortest(timeout),
        http_client=http_client,
    ) as client:
        for event in client.chat.completions.create(model="m", messages=[], stream=True):
            yield event.to_dict() if isinstance(event, openai.BaseModel) else event


def httpx_sse(url: str, timeout: Timeout, authority: str) -> Iterator[Any]:
    import httpx  # noqa: PLC0415
    import httpx_sse  # noqa: PLC0415

    verify = ssl.create_default_context(cafile=authority)
    with (
        httpx.Client(timeout=shortest(timeout), verify=verify) as client,
        httpx_sse.connect_sse(client, "POST", f"{url}/chat/completions", json={}) as source,
    ):
        source.response.raise_for_status()
        for event in source.iter_sse():
            if event.data == "[DONE]":
                return
            yield json.loads(event.data)


def by_hand(url: str, timeout: Timeout, authority: str) -> Iterator[Any]:
    import requests  # noqa: PLC0415
    import sseclient  # noqa: PLC0415

    with requests.post(
        f"{url}/chat/completions", json={}, stream=True, timeout=shortest(timeout)
    ) as response:
        response.raise_for_status()
        source: Any = response  # as its documentation has it, whatever its annotation says
        for event in sseclient.SSEClient(source).events():
            if event.data == "[DONE]":
                return
            yield json.loads(event.data)


def shortest(timeout: Timeout) -> float:
    """For who has one timeout, and none that bounds more than a wait for bytes."""
    return float(min(seconds for seconds in attrs.astuple(timeout) if seconds is not None))


def families(library: str) -> tuple[type[BaseException], ...]:
    """The errors that a library says it raises."""
    match library:
        case "openai":
            import openai  # noqa: PLC0415

            return (openai.OpenAIError,)
        case "httpx-sse":
            import httpx  # noqa: PLC0415
            import httpx_sse  # noqa: PLC0415

            return (httpx.HTTPError, httpx_sse.SSEError)
        case "sseclient":
            import requests  # noqa: PLC0415

            return (requests.RequestException,)
        case _:
            return (OpenAIStreamError,)


LIBRARIES: dict[str, Callable[[str, Timeout, str], Iterator[Any]]] = {
    "openai-stream": ours,
    "openai": openai,
    "httpx-sse": httpx_sse,
    "sseclient": by_hand,
}
DISTRIBUTIONS = ("openai-stream", "openai", "httpx2", "httpx-sse", "httpx", "sseclient-py",
                 "requests", "urllib3")  # fmt: skip


# One row to one library ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Until(Step):
    """Wait until the events are taken, but not for ever: a library may hold one back."""

    taken: threading.Event

    def play(self, connection: Connection) -> None:
        deadline = time.monotonic() + TAKES
        while not self.taken.is_set() and time.monotonic() < deadline:
            connection.wait(timeout=0.002)


def slowed(step: Step | bytes) -> Step | bytes:
    """What never ends fills no memory before the time is over."""
    if isinstance(step, Repeat) and step.times is None:
        return dataclasses.replace(step, delay=max(step.delay, 0.01))
    return step


def limits(row: Row) -> Timeout:
    """The row's deadlines, none so short that a busy machine trips it, nor long enough to wait."""
    deadlines = attrs.astuple(row.timeout)
    return Timeout(*(one and min(max(one, SHORTEST), LONGEST) for one in deadlines))


def deltas(events: Iterable[Any]) -> list[Any]:
    """What the events are compared by: an event without choices changes no answer."""
    found: list[Any] = []
    for event in events:
        choices = event.get("choices") if isinstance(event, dict) else None
        if isinstance(choices, list) and all(isinstance(one, dict) for one in choices):
            keys = ("index", "delta", "finish_reason")
            found += [tuple(one.get(key) for key in keys) for one in choices]
        elif not isinstance(event, dict):
            found.append(event)
    return found


def judged(row: Row, got: list[Any], error: BaseException | None, library: str) -> str:
    """The verdict; where several things are wrong, the first of them here.

    :param got: the ``deltas`` of what was delivered.
    """
    expected = deltas(row.events)
    begun = got == expected[: len(got)]
    if error is not None and not isinstance(error, families(library)):
        package = type(error).__module__.partition(".")[0]
        name = type(error).__name__
        return f"leaks {name if package == 'builtins' else f'{package}.{name}'}"
    if error is None and row.error is not None:
        return "ok" if row.others == "may accept it" else "silent"
    if error is not None and row.others == "may refuse it" and begun:
        return "ok"
    if error is not None and row.error is None:
        return "refuses"
    if got == expected:
        return "ok"
    return "loses events" if begun else "wrong events"


def verdict(library: str, row: Row, certificates: Certificates, authority: str) -> str:
    taken = threading.Event()
    expected = len(deltas(row.events))
    if not expected:
        taken.set()
    got: list[Any] = []
    error: BaseException | None = None
    with serving(row, certificates) as server:
        server.play([slowed(step) for step in row.played(Until(taken))])
        try:
            for event in LIBRARIES[library](server.base_url, limits(row), authority):
                got += deltas([event])
                if len(got) >= expected:
                    taken.set()
        except Exception as raised:
            error = raised
    return judged(row, got, error, library)


def play(library: str, first: int, results: Pipe) -> None:
    """In a process of its own: the verdicts from that row on, one after the other."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    certificates = Certificates()
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as file:
        file.write(certificates.authority.cert_pem.bytes())
        file.flush()
        os.environ["REQUESTS_CA_BUNDLE"] = file.name
        families(library)
        results.send("ready")
        for row in [row for rows in rows_by_group().values() for row in rows][first:]:
            found = verdict(library, row, certificates, file.name)
            if found != "ok":  # nobody shall be blamed for a machine that was busy
                again = verdict(library, row, certificates, file.name)
                found = again if again == "ok" else found
            results.send(found)


# All rows to all libraries -------------------------------------------------------------------


def verdicts(library: str) -> list[str]:
    """Of all rows; a process that says nothing for too long is killed, and another goes on."""
    count = sum(map(len, rows_by_group().values()))
    found: list[str] = []
    given_up: set[int] = set()
    context = multiprocessing.get_context("spawn")
    while len(found) < count:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=play, args=(library, len(found), theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            ours.recv()
            while len(found) < count:
                if not ours.poll(HANGS):
                    if len(found) in given_up:
                        found.append("hangs")
                    else:
                        given_up.add(len(found))
                    break
                found.append(ours.recv())
        except EOFError:
            found.append("dies")
        finally:
            process.kill()
            process.join()
            ours.close()
    print(f"{library}: {found.count('ok')} of {count}", flush=True)
    return found


# The page ------------------------------------------------------------------------------------

_HEAD = """\
.. Written by ``make compare-faults``; do not change it by hand.

Faults compared
===============

The rows of *the fault matrix*, each played over a real socket to other libraries too. Made by
``benchmarks/compare_faults.py`` on {date}, with Python {python}, {versions}.
``make compare-faults`` makes it again.

* **openai** is ``OpenAI(…).chat.completions.create(stream=True)`` in a loop.
* **httpx-sse** is ``connect_sse`` of an ``httpx.Client``, ``raise_for_status``, and ``json.loads``
  of each event until ``[DONE]``.
* **sseclient** is ``SSEClient(requests.post(…, stream=True))`` of *sseclient-py*, with the same
  ``raise_for_status``, ``json.loads`` and ``[DONE]``.

A row is **ok** if two things are right. The consumer was given exactly the row's events, compared
by ``index``, ``delta`` and ``finish_reason`` of their choices; an event without choices neither
counts nor harms. And where the row is a fault, an exception of the library's own documented family
was raised (``openai.OpenAIError``; ``httpx.HTTPError``; ``requests.RequestException``); where it is
none, no exception. Otherwise it

* is **silent**: a fault, and no exception, so that what came looks like the whole answer;
* **leaks** an exception of another library or of Python;
* **hangs**: no end and no exception in {hangs:.0f} seconds, although no deadline that was set is
  longer than {deadline:.0f} second; what never ends (a line, an event) is read for ever;
* **refuses**: raises, where the answer is whole;
* **loses events** that had arrived, or gives **wrong events**.

What is fair to know:

* The rows are ours. They hold what this library promises, so that it passes is no news: its tests
  play the same rows. The numbers of the others say how much of this a program has to do by itself.
* No retries anywhere. A library that has one timeout is given the shortest of the row's; none of
  the three has one for "no event although bytes come".
* Two of the columns are loops as people write them, not libraries for this API. ``json.loads`` and
  the end at ``[DONE]`` are in the loop, and what they leave out (an error object, a
  ``finish_reason`` that never came) a better loop would look for.
* Where standards let a reader refuse what we read (a content-length that is no number, a stream
  called ``text/plain``), refusing is ok. Where a row is about a limit of ours (one event larger
  than ``max_event_bytes``, a redirect), accepting is ok.
* Bytes that are no UTF-8 are an error here. The HTML standard has a reader put U+FFFD in their
  place; who does so is called silent.
* A row that is not ok is played a second time, and counts as ok if it is then.
"""


def document(found: dict[str, list[str]]) -> str:
    groups = rows_by_group()
    told = [f"{one} {importlib.metadata.version(one)}" for one in DISTRIBUTIONS]
    versions = f"{', '.join(told[:4])},\n{', '.join(told[4:-1])} and {told[-1]}"
    lines = [
        _HEAD.format(
            date=datetime.datetime.now(datetime.timezone.utc).date(),
            python=platform.python_version(),
            versions=versions,
            hangs=HANGS,
            deadline=LONGEST,
        )
    ]
    verdicts_by_group: dict[str, list[tuple[str, ...]]] = {}
    left = iter(zip(*found.values(), strict=True))
    for title, rows in groups.items():
        verdicts_by_group[title] = [next(left) for _ in rows]
    summary: list[Sequence[str]] = []
    for title, of_rows in verdicts_by_group.items():
        right = [str(column.count("ok")) for column in zip(*of_rows, strict=True)]
        summary.append((title, str(len(of_rows)), *right))
    total = [str(column.count("ok")) for column in found.values()]
    summary.append(("**All**", str(len(found["openai-stream"])), *total))
    lines += ["Rows that are ok", "----------------", ""]
    lines += table(("Group", "Rows", *found), summary, "30 10 15 15 15 15")

    kinds = [Counter(one.partition(" ")[0] for one in column) for column in found.values()]
    named = {"loses": "loses events", "wrong": "wrong events"}
    lines += ["What the others are", "-------------------", ""]
    wrong = ["silent", "leaks", "hangs", "refuses", "loses", "wrong", "dies"]
    counted = [
        (named.get(kind, kind), *(str(one[kind]) for one in kinds))
        for kind in wrong
        if any(one[kind] for one in kinds)
    ]
    lines += table(("", *found), counted, "40 15 15 15 15")

    for title, of_rows in verdicts_by_group.items():
        lines += [title, "-" * len(title), ""]
        cells = [
            (escaped(row.name), *map(escaped, shown))
            for row, shown in zip(groups[title], of_rows, strict=True)
        ]
        lines += table(("Row", *found), cells, "40 15 15 15 15")
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    # At the same time: what takes long is waiting for what hangs.
    with ThreadPoolExecutor(max_workers=len(LIBRARIES)) as pool:
        found = dict(zip(LIBRARIES, pool.map(verdicts, LIBRARIES), strict=True))
    DOCUMENT.write_text(document(found), encoding="utf-8")
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0 if set(found["openai-stream"]) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
