"""What an event costs, counted instead of timed, against a recorded budget.

``python -m benchmarks.guard`` counts and compares; ``--renew`` records what it counted, for the
Python that runs it. The path is the real one: bytes that another process sends, through transport,
frames, models and accumulation into the queue, and out of it. Three counts, none of which a busy
machine changes:

``bytecode``
    Instructions of the interpreter per event, in this library's code and the standard library's
    (what other packages execute depends on their versions). Each Python has a budget of its own.
``blocks``
    Blocks of memory per event that waits in the queue, unread.
``instructions``
    Instructions of the processor per event, counted by ``valgrind``, as the ratio to a bare loop
    (``requests``, ``sseclient``, ``json.loads``) in the same run, so that it is much the same
    whatever the versions of those are. It sees what the others cannot: time spent in C. Each build
    of Python has a budget of its own.

Each is the difference between an answer of N events and one of 2 N: what a call costs cancels out.
"""

from __future__ import annotations

import argparse
import configparser
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .counted import EVENTS
from .server import ServerProcess
from .worker import ROOT, environment

BUDGET = Path(__file__).with_name("budget.cfg")
HEADER = """\
# What an event may cost, on each Python; benchmarks/guard.py says what is counted, and how. What
# makes it dearer for a good reason records that: python -m benchmarks.guard --renew
"""
#: How much more than recorded is still the same: more than the counts vary by, for the network may
#: be waited for once more or less, and the processor's instructions vary with what is installed.
TOLERANCE = {"bytecode": 0.003, "blocks": 0.005, "instructions": 0.02}

#: The module that is run to be counted.
COUNTED = f"{__package__}.counted"

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
#: What a count is recorded for: compilers differ by more than a regression does.
_PYTHON = {
    "bytecode": _VERSION,
    "blocks": _VERSION,
    "instructions": f"{platform.python_version()}, {platform.python_compiler()}".lower(),
}


# The counts -----------------------------------------------------------------------------------


def count(what: str) -> tuple[float, str]:
    """Count it anew, in fresh processes.

    :returns: the count per event, and what it is made of, in words.
    """
    with ServerProcess() as server:
        if what == "instructions":
            return _count_instructions(server.base_url)
        counted = json.loads(_output([sys.executable, "-m", COUNTED, what, server.base_url]))
    if isinstance(counted, dict):
        parts = "\n".join(f"{executed:8.2f}  {module}" for module, executed in counted.items())
        return sum(counted.values()), parts
    return counted, ""


def _count_instructions(base_url: str) -> tuple[float, str]:
    costs = {}
    for kind in ("bare", "through"):
        # Once without being watched: what it imports is compiled, and stays so.
        _output([sys.executable, "-m", COUNTED, kind, base_url, "1"])
        once, twice = (
            _instructions([kind, base_url, str(events)]) for events in (EVENTS, 2 * EVENTS)
        )
        costs[kind] = (twice - once) / EVENTS
    ratio = costs["through"] / costs["bare"]
    return ratio, f"{costs['through']:,.0f} instructions, the bare loop {costs['bare']:,.0f}"


def _instructions(arguments: list[str]) -> int:
    """The instructions of a whole process."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    told = _output([*command, sys.executable, "-m", COUNTED, *arguments], stderr=True)
    found = re.search(r"Collected : (\d+)", told)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing:\n{told}")
    return int(found[1])


def _output(command: list[str], stderr: bool = False) -> str:
    """What a command prints, without an environment that would change what it executes."""
    process = subprocess.run(  # noqa: S603
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stderr else None,
        text=True,
        check=True,
        cwd=ROOT,
        env={**environment(), "PYTHONHASHSEED": "0"},
    )
    return process.stdout


# The budget -----------------------------------------------------------------------------------


class Budget:
    """The recorded counts, of each Python its own, in a file that people read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorded = configparser.ConfigParser()
        self._recorded.read(path)

    def recorded(self, what: str) -> float | None:
        """The count on this Python; ``None`` where there is none."""
        text = self._recorded.get(what, _PYTHON[what], fallback=None)
        return None if text is None else float(text)

    def record(self, what: str, counted: float) -> None:
        """Record a count on this Python."""
        pythons = dict(self._recorded[what]) if self._recorded.has_section(what) else {}
        pythons[_PYTHON[what]] = f"{counted:.3f}"
        # 3.9 is older than 3.10.
        self._recorded[what] = dict(
            sorted(pythons.items(), key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])])
        )
        with self._path.open("w") as file:
            file.write(HEADER + "\n")
            self._recorded.write(file)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard")
    parser.add_argument("counts", nargs="*", help=f"of {', '.join(TOLERANCE)}; all")
    parser.add_argument("--renew", action="store_true", help="record what is counted")
    parser.add_argument("--budget", type=Path, default=BUDGET, help="the file with the records")
    options = parser.parse_args()
    if unknown := set(options.counts) - set(TOLERANCE):
        parser.error(f"no count: {', '.join(sorted(unknown))}")

    budget = Budget(options.budget)
    dearer = False
    for what in options.counts or TOLERANCE:
        if what == "instructions" and shutil.which("valgrind") is None:
            print(f"{what}: NOT COUNTED, there is no valgrind here")
            continue
        counted, parts = count(what)
        recorded = budget.recorded(what)
        print(f"{what}: {counted:.3f} an event on Python {_PYTHON[what]}: ", end="")
        if options.renew:
            budget.record(what, counted)
            print(f"recorded; it was {recorded}")
        elif recorded is None:
            print("NOT COMPARED, no budget is recorded")
        elif counted > recorded * (1 + TOLERANCE[what]):
            print(f"MORE than the {recorded:.3f} recorded")
            dearer = True
        elif counted < recorded * (1 - TOLERANCE[what]):
            print(f"less than the {recorded:.3f} recorded: renew it, so that it stays so")
        else:
            print(f"as recorded ({recorded:.3f})")
        if parts:
            print(parts)
    return int(dearer)


if __name__ == "__main__":
    sys.exit(main())
