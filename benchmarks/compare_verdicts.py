"""What a server sees of this library, and of those that a user would pick instead.

``python -m benchmarks.compare_verdicts`` in an environment with the extra ``bench``, or ``make
compare-verdicts``, which makes one. It plays each behaviour to each library, asks
``server.verdict()``, and writes ``docs/verdicts.rst``. A library runs in a process of its own
(``peers/ask.py``): one that hangs is killed, and goes on with the next behaviour.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import email.utils
import json
import os
import platform
import select
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

from fault_table import table  # noqa: E402 - the tests are no package

from openai_stream.testing import (  # noqa: E402
    Answer,
    ScriptedServer,
    Verdict,
    answer,
    error_answer,
    error_event,
    keep_alives,
    no_response,
    rate_limited,
    server_error,
    stall,
    unanswered,
)

DOCUMENT = ROOT / "docs" / "verdicts.rst"
PEER = Path(__file__).parent / "peers" / "ask.py"
TIMEOUT = 1.0  # seconds; what each library is given
PATIENCE = 2.5  # seconds; who waits so long has no time-out
HANGS = 12.0  # seconds after which a behaviour is given up
TEXT = "Hello you there"


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What the server does.

    :param first: the first answers.
    :param then: all further ones.
    :param stop: the program stops after the first event.
    """

    name: str
    then: Answer
    first: Callable[[], Sequence[Answer]] = tuple
    stop: bool = False


def _dated() -> list[Answer]:
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
    headers = {"Retry-After": email.utils.format_datetime(when, usegmt=True)}
    return [error_answer(429, "slow down", headers=headers)]


_WHOLE = answer(TEXT)
BEHAVIOURS = [
    Behaviour("a whole answer", _WHOLE),
    Behaviour("429 once, Retry-After: 2", _WHOLE, lambda: [answer(fault=rate_limited(2))]),
    Behaviour("429 once, Retry-After: a date, 3 s from now", _WHOLE, _dated),
    Behaviour("429 always, Retry-After: 300", answer(fault=rate_limited(300))),
    Behaviour("429 always, without Retry-After", answer(fault=rate_limited())),
    Behaviour(
        "429 always, the account is used up",
        error_answer(429, "You exceeded your quota", code="insufficient_quota"),
    ),
    Behaviour("400 always", error_answer(400, "no such parameter")),
    Behaviour("401 always", error_answer(401, "no such key", code="invalid_api_key")),
    Behaviour("500 always", answer(fault=server_error(500))),
    Behaviour(
        "500 always, x-should-retry: false",
        error_answer(500, "never", headers={"x-should-retry": "false"}),
    ),
    Behaviour("the connection is closed instead of an answer", answer(fault=no_response())),
    Behaviour("the connection is closed in the middle", answer(TEXT, fault="cut")),
    Behaviour("the same, of a body that ends with the connection",
              answer(TEXT, fault="cut", framing="close")),
    Behaviour("the answer ends in good order, too early", answer(TEXT, fault="truncated")),
    Behaviour("an error event in the middle", answer(TEXT, fault=error_event())),
    Behaviour("silence instead of an answer", answer(fault=unanswered())),
    Behaviour("silence in the middle", answer(TEXT, fault=stall())),
    Behaviour("nothing but keep-alives from the middle on", answer(TEXT, fault=keep_alives())),
    Behaviour("the program stops in the middle", answer(TEXT, fault=stall()), stop=True),
]  # fmt: skip


class Peer:
    """The process of a library, started when it is needed."""

    def __init__(self, library: str, python: str) -> None:
        self.library = library
        self._command = [python, str(PEER), library]
        self._process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The outcome, or ``None`` if there is none in so many seconds."""
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.library} cannot be asked with {self._command[0]}")
        outcome: dict[str, Any] = json.loads(line)
        return outcome

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def warm(peer: Peer) -> None:
    """Let the library import what it wants, which takes one of them several seconds."""
    with ScriptedServer() as server:
        server.always(_WHOLE)
        peer.ask({"url": server.base_url, "timeout": 60.0, "stop": False}, 120.0)


def cell(peer: Peer, behaviour: Behaviour) -> str:
    """What the library made of it, and what the server has against it."""
    with ScriptedServer() as server:
        server.play(*behaviour.first())
        server.always(behaviour.then)
        job = {"url": server.base_url, "timeout": TIMEOUT, "stop": behaviour.stop}
        outcome = peer.ask(job, HANGS)
        verdict: Verdict = server.verdict(
            accepted=outcome is not None and not outcome["error"] and not behaviour.stop,
            stopped=behaviour.stop,
            patience=PATIENCE,
        )
        count = len(server.requests)
        if outcome is None:
            peer.kill()
            warm(peer)
    if outcome is None:
        became = f"hangs for {HANGS:.0f} s"
    else:
        became = outcome["error"] or ("stopped" if behaviour.stop else "the answer")
    if count > 1:
        became += f", {count} requests"
    return became + "".join(f"; **{name}**" for name in verdict.names)


_HEAD = """\
.. Written by ``make compare-verdicts``; do not change it by hand.

Clients, as a server sees them
==============================

Each behaviour of a server is played to each library over a real socket, and
:meth:`server.verdict() <openai_stream.testing.ScriptedServer.verdict>` says what the client did
wrong: in **bold**, by the name of the finding. Before that stands what the program was given: the
answer, or the exception. Made by ``benchmarks/compare_verdicts.py`` on {date}, with Python
{python}, {versions}.

Retries are each library's own default. Each was given a time-out of {timeout:g} second: *openai*
and *litellm* as ``timeout=``, which in both bounds the wait for bytes; this library as
``Timeout(idle=…, gap=…)``, of which the second bounds the wait for an event. A *stop* is
``close()`` after the first event; a library whose stream has no such method is judged by what it
does when the stream is dropped.

"""


def version(python: str, name: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run(  # noqa: S603
        [python, "-c", code], capture_output=True, text=True, check=False
    ).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litellm", metavar="PYTHON", help="the Python that has litellm")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    pythons = {"openai-stream": sys.executable, "openai": sys.executable}
    if arguments.litellm is not None:
        pythons["litellm"] = arguments.litellm
    found: dict[str, list[str]] = {}
    for library, python in pythons.items():
        peer = Peer(library, python)
        try:
            warm(peer)
            found[library] = [cell(peer, behaviour) for behaviour in BEHAVIOURS]
        finally:
            peer.kill()
        print(f"{library}: {sum('**' not in one for one in found[library])} of {len(BEHAVIOURS)}")
    versions = [f"{name} {version(python, name)}" for name, python in pythons.items()]
    if "litellm" in pythons:
        versions[-1] += f" (on openai {version(pythons['litellm'], 'openai')})"
    lines = [
        _HEAD.format(
            date=datetime.datetime.now(datetime.timezone.utc).date(),
            python=platform.python_version(),
            versions=", ".join(versions),
            timeout=TIMEOUT,
        )
    ]
    if "litellm" not in pythons:
        lines += ["*litellm* is left out: its environment was not there.", ""]
    right = [str(sum("**" not in one for one in column)) for column in found.values()]
    rows = [(one.name, *shown) for one, *shown in zip(BEHAVIOURS, *found.values(), strict=True)]
    rows.append((f"**Nothing wrong, of {len(BEHAVIOURS)}**", *right))
    widths = " ".join(["30", *["23"] * len(found)])
    cells = [tuple(one.replace("_", r"\_") for one in row) for row in rows]
    lines += table(("The server", *found), cells, widths)
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0 if right[0] == str(len(BEHAVIOURS)) else 1


if __name__ == "__main__":
    sys.exit(main())
