"""Mutation testing: change the library in one place after another, and see that a test fails.

``make mutants``, or ``python -m proofs.mutants [--rooms sse,queues] [--keep FOLDER]``. It takes an
hour or two, best on a machine that has nothing else to do, and is not for every day.

`mutmut <https://mutmut.readthedocs.io>`_ makes the mutants and runs the tests; here is what it is
given: for each *room*, a few modules that belong together, the tests that speak for them. All
mutants of a room are tried, or of large ones a random sample, always the same for the same code.
Everything happens in copies; nothing is written but ``docs/mutants.rst``, and that by a run over
all rooms, or with ``--report``. What a folder that is kept has of a room is not tried again: so
rooms can be tried one by one, and reported together.

A mutant that survives is either a gap in the tests or harmless: nobody can tell the difference.
The harmless ones are recorded in ``proofs/survivors/``, each with the reason, by the text of the
line that is changed, so that they stay known when other lines move. One that is not recorded is
a failure, and so is a room where too few are killed: fewer than 95 in 100 where it is pure, bytes
in and bytes out, else fewer than 90.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest needs it there
    import tomli as tomllib

_ROOT = Path(__file__).parent.parent
_PACKAGE = "openai_stream"
_RECORDS = _ROOT / "proofs" / "survivors"
_REPORT = _ROOT / "docs" / "mutants.rst"
_ENOUGH = 0.90  # of the mutants of a room must be killed,
_ENOUGH_OF_PURE = 0.95
_CHILDREN = 2
_LEFT_OUT = 20  # tests of a room at most
_SEED = "1"
# By mutmut, and with a second behind SIGXCPU; by ``mutants_plugin``.
_TIMEOUTS = {36, 24, 152, 255, -signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM}
_SURVIVED = {0, 5, 33}  # the last two: no test reaches it

_CONFIG = """
[tool.mutmut]
source_paths = ["{package}"]
only_mutate = {files}
also_copy = ["_openai_stream_command.py", "_openai_stream_pytest.py", "docs", "proofs"]
pytest_add_cli_args = {options}
pytest_add_cli_args_test_selection = {tests}
timeout_constant = 60.0
timeout_multiplier = 3.0
use_git_change_detection = false
track_dependencies = false
"""


class Room(NamedTuple):
    """Modules that belong together, and the tests that speak for them.

    :param files: below the package; ``*`` stands for any.
    :param tests: below ``tests``.
    :param sample: how many mutants of each file are tried; 0 is all.
    :param pure: it is bytes in, bytes out, and so are the tests that speak for it: of the others
        in these files, which play a server, none is run.
    :param scripts: functions that run in processes of their own, where mutmut does not see them,
        and the tests that start these; the beginnings of mutmut's and pytest's names.
    """

    files: Sequence[str]
    tests: Sequence[str]
    sample: int = 0
    pure: bool = False
    scripts: Sequence[tuple[str, str]] = ()


_STREAMS = [
    *("queues", "sinks", "stream", "faults", "framing", "client", "call", "timeouts"),
    *("restarts", "azure", "responses", "any_endpoint", "locks", "api", "exit"),
    *("otel", "recordings", "unheld", "request", "statuses", "attempts", "given_session"),
    *("ways_there", "keys_shown", "result", "callbacks", "close", "ownership"),
]

ROOMS = {
    "sse": Room(["sse.py"], ["test_sse.py", "test_protocol_events.py"], pure=True),
    "protocol": Room(
        ["protocol.py", "not_streamed.py"],
        ["test_protocol.py", "test_protocol_events.py"],
        pure=True,
    ),
    "accumulate": Room(["accumulate/*"], ["accumulate"]),
    "queues": Room(
        [f"stream/{name}.py" for name in ("burst_queue", "taking", "source", "replay")],
        ["test_queues.py", "test_sinks.py", "test_restarts.py", "test_subscribe.py"],
    ),
    "errors": Room(["errors.py"], ["test_errors.py"]),
    "models": Room(["models/*"], ["models"]),
    "life": Room(
        [
            *(f"stream/{name}.py" for name in ("state", "reader", "ending", "calling", "handles")),
            *("stream/exit.py", "client.py"),
        ],
        [f"test_{name}.py" for name in _STREAMS],
        sample=60,
        scripts=[
            ("stream.exit.x\u01c1Exit\u01c1", "test_exit.py"),
            ("stream.reader.x\u01c1Reader\u01c1start__", "test_exit.py"),
        ],
    ),
    "bodies": Room(
        [f"transport/{name}.py" for name in ("chunks", "content", "decoding", "framing")],
        [f"test_{name}.py" for name in ("chunks", "content", "decoding")],
        pure=True,
    ),
    "redaction": Room(["redaction/*"], ["test_redaction.py"], pure=True),
    "server_errors": Room(
        ["server_errors.py", "retrying.py"],
        ["test_server_errors.py", "test_retrying.py"],
        pure=True,
    ),
    "transport": Room(
        [
            *(f"transport/{name}.py" for name in ("addresses", "body", "call", "causes")),
            *(f"transport/{name}.py" for name in ("connection", "current", "deadlines", "head")),
            *(f"transport/{name}.py" for name in ("origin", "response", "sending", "session")),
            *(f"transport/{name}.py" for name in ("sockets", "sources", "wire")),
        ],
        [f"test_{name}.py" for name in ("body", "causes", "deadlines", "origin", *_STREAMS)],
        sample=20,
    ),
}


class Mutant(NamedTuple):
    """A mutant, by what stays the same when other lines change."""

    module: str
    function: str
    old: str
    new: str


class Verdict(NamedTuple):
    mutant: Mutant
    outcome: str  # "killed", "timeout" or "survived"


# Running mutmut ------------------------------------------------------------------------------


def _tried_once(room: Room, folder: Path) -> tuple[list[Verdict], float]:
    """What became of a room's mutants, and the seconds that it took, then if not now."""
    path = folder / "verdicts.json"
    if not path.exists():
        folder.mkdir(parents=True)
        start = time.monotonic()
        verdicts = try_room(room, folder)
        path.write_text(json.dumps([verdicts, time.monotonic() - start]))
    rows, seconds = json.loads(path.read_text())
    return [Verdict(Mutant(*mutant), outcome) for mutant, outcome in rows], seconds


def try_room(room: Room, folder: Path) -> list[Verdict]:
    """Run mutmut for a room in a copy of the repository."""
    _copy(room, folder)
    # The first mutants of a few functions: it is the list of all, and the record of which test
    # reaches which function, that is wanted.
    _mutmut(folder, ["*.x_*__mutmut_1", "*__init____mutmut_1"])
    _add_scripts(room, folder)
    names = _draw(folder, room.sample) if room.sample else [key for key, *_ in _mutants(folder)]
    ended = _try_quickly(room, folder, names)
    # What no test noticed in a fork is tried in the usual way too: it may be run at import.
    unnoticed = [key for key, status in ended.items() if status in _SURVIVED]
    if unnoticed:
        _mutmut(folder, unnoticed)
    verdicts = []
    for key, mutant, status in _mutants(folder):
        if key in names:
            again = status if key in unnoticed else ended[key]
            if again is None:
                sys.exit(f"mutmut did not try {key}")
            verdicts.append(Verdict(mutant, _verdict(again)))
    return verdicts


def _try_quickly(room: Room, folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Try mutants in forks of one process, ten times as fast as mutmut does.

    :returns: with which status the tests of each of them ended.
    """
    there = folder / "mutants"
    (there / "to_try.json").write_text(json.dumps(names))
    options = [*_options(room), "--rootdir=.", "--tb=native"]
    options.append("-s")  # what is captured, the forks would write into one file
    tests = [f"tests/{name}" for name in room.tests]
    _run([sys.executable, "-m", "pytest", *options, *tests], there)
    ended: dict[str, int] = json.loads((there / "tried.json").read_text())
    return ended


def _copy(room: Room, folder: Path) -> None:
    for name in (_PACKAGE, "docs", "proofs", "tests"):
        shutil.copytree(
            _ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    config = _CONFIG.format(
        package=_PACKAGE,
        files=json.dumps([f"{_PACKAGE}/{name}" for name in room.files]),
        tests=json.dumps([f"tests/{name}" for name in room.tests]),
        options=json.dumps(_options(room)),
    )
    (folder / "pyproject.toml").write_text((_ROOT / "pyproject.toml").read_text() + config)


def _options(room: Room) -> list[str]:
    """What each run of pytest is given."""
    options = ["-p", "proofs.mutants_plugin", "-p", "no:cacheprovider", "--reruns", "1"]
    return [*options, *(["--pure"] if room.pure else [])]


def _mutmut(folder: Path, names: Sequence[str]) -> None:
    program = Path(sys.executable).with_name("mutmut")
    _run([str(program), "run", "--max-children", str(_CHILDREN), *names], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    # A session of its own: what a killed test has started is ended with it.
    with subprocess.Popen(  # noqa: S603 - it is ours
        command,
        cwd=folder,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        try:
            output, _ = running.communicate()
        finally:
            _end(running.pid)
    if running.returncode:
        said = output.decode(errors="replace")[-2000:]
        sys.exit(f"{Path(command[0]).name} failed in {folder}:\n{said}")


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _add_scripts(room: Room, folder: Path) -> None:
    """Tell mutmut of the tests that run scripts, for the functions that only scripts run."""
    path = folder / "mutants" / "mutmut-stats.json"
    stats = json.loads(path.read_text())
    reached = stats["tests_by_mangled_function_name"]
    for function, test in room.scripts:
        tests = [name for name in stats["duration_by_test"] if name.startswith(f"tests/{test}")]
        for key, _, _ in _mutants(folder):
            if key.startswith(f"{_PACKAGE}.{function}"):
                name = key.partition("__mutmut_")[0]
                reached[name] = sorted({*reached.get(name, []), *tests})
    path.write_text(json.dumps(stats))


def _draw(folder: Path, size: int) -> list[str]:
    """A sample of each file's mutants.

    By a hash of what each of them is, not of where it stands: so an edit changes little of it.
    """
    drawn: list[str] = []
    by_module: dict[str, list[tuple[str, str]]] = {}
    for key, mutant, _ in _mutants(folder):
        rank = hashlib.sha256("\n".join((_SEED, *mutant)).encode()).hexdigest()
        by_module.setdefault(mutant.module, []).append((rank, key))
    for ranked in by_module.values():
        drawn += [key for _, key in sorted(ranked)[:size]]
    return drawn


# What mutmut found ---------------------------------------------------------------------------


def _mutants(folder: Path) -> Iterator[tuple[str, Mutant, int | None]]:
    """Each mutant's key, what it is, and with which status its tests ended, if they ran."""
    for path in sorted((folder / "mutants" / _PACKAGE).rglob("*.meta")):
        mutated = path.with_suffix("")
        lines = mutated.read_text().splitlines()
        spans = json.loads(mutated.with_name(mutated.name + ".spans").read_text())["spans"]
        for key, status in json.loads(path.read_text())["exit_code_by_key"].items():
            yield key, _describe(key, lines, spans), status


def _verdict(status: int) -> str:
    if status in _TIMEOUTS:
        return "timeout"
    return "survived" if status in _SURVIVED else "killed"


def _describe(key: str, lines: list[str], spans: dict[str, tuple[int, int]]) -> Mutant:
    """``openai_stream.sse.xǁFramesǁ__iter____mutmut_7``, in words that last."""
    module, _, mangled = key.removeprefix(f"{_PACKAGE}.").rpartition(".")
    stem = mangled.partition("__mutmut_")[0]
    function = re.sub("^x\u01c1|^x_", "", stem).replace("\u01c1", ".")
    old, new = (
        [
            " ".join(line.split()).replace(name, function.rpartition(".")[2])
            for line in lines[spans[name][0] - 1 : spans[name][1]]
        ]
        for name in (f"{stem}__mutmut_orig", mangled)
    )
    changes = [
        line
        for line in difflib.ndiff(old, new)
        if line[:2] in ("- ", "+ ")  # without the marks below changed lines
    ]
    return Mutant(
        module,
        function,
        " ".join(line[2:] for line in changes if line[0] == "-"),
        " ".join(line[2:] for line in changes if line[0] == "+"),
    )


# What is known -------------------------------------------------------------------------------


def recorded() -> dict[Mutant, str]:
    """The mutants that nobody can tell from the original, each with the reason."""
    known: dict[Mutant, str] = {}
    for path in sorted(_RECORDS.glob("*.toml")):
        for block in tomllib.loads(path.read_text()).get("harmless", []):
            for function, old, new in block["mutants"]:
                known[Mutant(block["module"], function, old, new)] = block["why"]
    return known


def _as_record(mutants: Sequence[Mutant]) -> str:
    """Unknown survivors in the form in which they are recorded."""
    blocks = []
    for module in sorted({mutant.module for mutant in mutants}):
        rows = [
            f"    ['{m.function}', '''{m.old}''', '''{m.new}'''],"
            for m in mutants
            if m.module == module
        ]
        blocks.append(
            "\n".join(
                ["[[harmless]]", f'module = "{module}"', 'why = ""', "mutants = [", *rows, "]"]
            )
        )
    return "\n\n".join(blocks)


# Telling it ----------------------------------------------------------------------------------


def _table(verdicts: Sequence[Verdict]) -> list[tuple[str, int, int, int, int]]:
    """For each module: mutants, killed by a failing test, killed by a timeout, survived."""
    counts = Counter((verdict.mutant.module, verdict.outcome) for verdict in verdicts)
    return [
        (
            module,
            sum(counts[module, outcome] for outcome in ("killed", "timeout", "survived")),
            counts[module, "killed"],
            counts[module, "timeout"],
            counts[module, "survived"],
        )
        for module in sorted({verdict.mutant.module for verdict in verdicts})
    ]


def _share(verdicts: Sequence[Verdict]) -> float:
    return sum(verdict.outcome != "survived" for verdict in verdicts) / len(verdicts)


def _report(results: dict[str, list[Verdict]], known: dict[Mutant, str], seconds: float) -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("mutmut", "pytest", "hypothesis")
    )
    when = datetime.now(timezone.utc).date()
    out = [
        ".. Written by ``make mutants``; the reasons are in ``proofs/survivors``.",
        "",
        "Mutants",
        "=======",
        "",
        _wrapped(
            "What the tests would notice: the library is changed in one place, the tests that "
            "speak for the place are run, and one of them should fail. Where none does, the change "
            "survives; each survivor is listed with the reason why nobody can tell the difference. "
            "A change that is only noticed because a test never ends is counted apart.",
        ),
        "",
        _wrapped(
            f"``make mutants`` on {when}: {versions}; CPython {platform.python_version()}, "
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; "
            f"{seconds / 60:.0f} minutes.",
        ),
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
    ]
    header = ("Modules", "Mutants", "Killed by a test", "By a timeout only", "Survived", "Killed")
    rows: list[tuple[str, ...]] = [header]
    for room, verdicts in results.items():
        sample = " (a random sample)" if ROOMS[room].sample else ""
        for module, *numbers in _table(verdicts):
            total, _, _, survived = numbers
            share = f"{100 * (total - survived) / total:.1f} %"
            rows.append((f"``{module}``{sample}", *map(str, numbers), share))
    left_out = ", ".join(f"``{name}``" for name in ROOMS if name not in results)
    everything = [verdict for verdicts in results.values() for verdict in verdicts]
    sums = [sum(column) for column in zip(*(row[1:] for row in _table(everything)), strict=True)]
    rows.append(("together", *map(str, sums), f"{100 * _share(everything):.1f} %"))
    for row in rows:
        out += [f"   {'* -' if not n else '  -'} {cell}" for n, cell in enumerate(row)]
    if left_out:
        out += ["", _wrapped(f"Not tried this time: {left_out}.")]
    out += ["", "Killed by a timeout only", "------------------------", ""]
    out += _listing([v.mutant for v in everything if v.outcome == "timeout"])
    out += ["Survivors", "---------", ""]
    survivors = [v.mutant for v in everything if v.outcome == "survived"]
    for why in dict.fromkeys(known.get(mutant, "Not looked at yet.") for mutant in survivors):
        out += [_wrapped(why), ""]
        out += _listing([m for m in survivors if known.get(m, "Not looked at yet.") == why])
    return "\n".join(out)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False)


def _listing(mutants: Sequence[Mutant]) -> list[str]:
    out = []
    for module, function in dict.fromkeys((m.module, m.function) for m in mutants):
        out += [f"``{module}``, ``{function}``::", ""]
        for m in mutants:
            if (m.module, m.function) == (module, function):
                out += [f"    - {m.old}", f"    + {m.new}", ""]
    return out or ["None.", ""]


def _tell(name: str, verdicts: Sequence[Verdict], known: dict[Mutant, str]) -> bool:
    """Print what became of a room's mutants.

    :returns: whether it is a failure.
    """
    print(f"{name}: {_share(verdicts):.1%} killed")
    for module, total, killed, timeouts, survived in _table(verdicts):
        print(
            f"  {module:24} {total:5} mutants, {killed:5} killed, "
            f"{timeouts:4} by a timeout only, {survived:4} survived"
        )
    survivors = [verdict.mutant for verdict in verdicts if verdict.outcome == "survived"]
    unknown = [mutant for mutant in survivors if mutant not in known]
    if unknown:
        print(f"\n{len(unknown)} survivors that {_RECORDS.relative_to(_ROOT)} does not know:\n")
        print(_as_record(unknown))
    # Of a sample, nothing can be said about what was not drawn.
    modules = set() if ROOMS[name].sample else {verdict.mutant.module for verdict in verdicts}
    stale = [mutant for mutant in known if mutant.module in modules and mutant not in survivors]
    if stale:
        print("\nRecorded, but survivors no longer:\n")
        print(_as_record(stale))
    enough = _ENOUGH_OF_PURE if ROOMS[name].pure else _ENOUGH
    poor = _share(verdicts) < enough
    if poor:
        print(f"\nFewer than {enough:.0%} are killed.")
    print(flush=True)
    return bool(unknown) or poor


def _tell_unreliable(folder: Path) -> None:
    path = folder / "mutants" / "unreliable.txt"
    names = path.read_text().splitlines() if path.exists() else []
    if names:
        print("Left out, since they failed without a mutant (a loaded machine?):")
        print(textwrap.indent("\n".join(names), "  "))
    if len(names) > _LEFT_OUT:
        sys.exit("These are too many: the tests must pass first.")


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation testing; see proofs/mutants.py.")
    parser.add_argument("--rooms", default=",".join(ROOMS), help="some of: %(default)s")
    parser.add_argument("--keep", type=Path, help="a folder for the copies, and what came of them")
    parser.add_argument("--report", action="store_true", help="write it, also of some rooms alone")
    options = parser.parse_args()
    chosen = options.rooms.split(",")
    for name in chosen:
        if name not in ROOMS:
            parser.error(f"no such room: {name}")

    known = recorded()
    failed = False
    seconds = 0.0
    results: dict[str, list[Verdict]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        for name in chosen:
            folder = (options.keep or Path(temporary)).absolute() / name
            results[name], took = _tried_once(ROOMS[name], folder)
            seconds += took
            _tell_unreliable(folder)
            failed |= _tell(name, results[name], known)
    if options.report or set(chosen) == set(ROOMS):
        _REPORT.write_text(_report(results, known, seconds))
        print(f"\nwritten: {_REPORT.relative_to(_ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
