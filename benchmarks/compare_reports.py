"""What the public reports, played to us and to what a user would pick instead.

``make compare-reports`` plays each report of ``tests/reports.py`` to the newest of the other
libraries and writes ``docs/reported_by_peers.json``, from which ``python tests/reports.py`` makes
the page. ``python -m benchmarks.compare_reports --before CHECKOUT`` plays them to the library of
another checkout, and fails if a row says otherwise of it.

Each library is a process of its own, which reads a job a line and writes an outcome a line; the
server and the judge are here. One that hangs is killed, and goes on with the next row.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

from reported.row import JSON, Fails, Report, Whole  # noqa: E402 - the tests are no package
from reported.verdict import RIGHT, difference, played, verdict  # noqa: E402
from reports import DOCUMENT, PEERS, REPORTS, UNPLAYED, document  # noqa: E402

HANGS = 20.0  # seconds after which a row is given up; the players' own deadlines are shorter
VOID: tuple[Any, ...] = (None, "", [], {})


class Player:
    """A process with a library, started when it is needed."""

    def __init__(self, command: list[str], *, cwd: Path, path: Path = ROOT) -> None:
        self._command, self._cwd = command, cwd
        self._environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONWARNINGS": "ignore"}
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, job: JSON) -> JSON:
        """The outcome of a job; an error that is not the library's own if it hangs or dies."""
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], HANGS)
        line = process.stdout.readline() if ready else ""
        if line:
            outcome: JSON = json.loads(line)
            return outcome
        self.close()
        return {"error": {"class": "dies" if ready else "hangs", "own": False, "said": ""}}

    def close(self) -> None:
        """End the process, however busy it is."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def before(checkout: Path, word: str) -> int:
    """Say for each row what the library of a checkout makes of it; 1 if a row says otherwise."""
    tests = ROOT / "tests"
    player = Player([sys.executable, "-m", "reported.ours"], cwd=tests, path=checkout.absolute())
    contradicted = 0
    reports = [report for report in REPORTS if word in report.name]
    for report in reports:
        found = verdict(report, *played(report, player))
        contradicts = (found == RIGHT) != (report.before == RIGHT)
        contradicted += contradicts
        mark = "   <-- the row says: " + report.before if contradicts else ""
        print(f"{report.name}: {found}{mark}", flush=True)
    player.close()
    right = sum(report.before == RIGHT for report in reports)
    print(f"{right} of {len(reports)} rows say that it was right; {contradicted} are contradicted")
    return 1 if contradicted else 0


# The other libraries ------------------------------------------------------------------------------


def players(litellm: str, node: Path) -> dict[str, Player]:
    """One for each library, ours as well."""
    peers = ROOT / "benchmarks" / "peers"
    script = str(peers / "play_openai.mjs")
    return {
        "openai": Player([sys.executable, "play_openai.py"], cwd=peers),
        "openai-node": Player(["node", script, str(node.absolute())], cwd=peers),
        "litellm": Player([litellm, "play_litellm.py"], cwd=peers),
        "ours": Player([sys.executable, "-m", "reported.ours"], cwd=ROOT / "tests"),
    }


def versions(litellm: str, node: Path) -> dict[str, str]:
    ask = "import importlib.metadata; print(importlib.metadata.version('litellm'))"
    command = [litellm, "-c", ask]
    told = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    package = json.loads((node / "node_modules" / "openai" / "package.json").read_text("utf-8"))
    return {
        "openai": importlib.metadata.version("openai"),
        "openai-node": package["version"],
        "litellm": told.stdout.strip(),
    }


def verdict_of_peer(library: str, report: Report, outcome: JSON) -> str:
    """As ``verdict``, by what the library can express; how often it asks is its own affair."""
    if outcome.get("unplayed"):
        return UNPLAYED
    error = outcome.get("error")
    if error is not None and not error["own"]:
        return error["class"] if error["class"] in ("hangs", "dies") else f"leaks {error['class']}"
    if isinstance(report.right, Fails):
        return "looks whole" if error is None and not report.again else RIGHT
    if error is not None:
        return "refuses"
    # The deltas that were delivered have another form in each library.
    right = attrs.evolve(report.right, events=None)
    if library == "litellm":
        right = expressible(right)
    if report.endpoint == "completions":
        right = attrs.evolve(right, fields={})  # the sum by hand has no more
    found = difference(right, outcome, same=holds)
    return found if found == RIGHT else f"wrong {found.partition(' ')[0]}"


def expressible(right: Whole) -> Whole:
    """What ``litellm`` means to keep: it has its own ids, and gives one form to all servers."""
    kept = ("content", "tool_calls", "function_call", "reasoning_content", "refusal")

    def trimmed(message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        return {key: value for key, value in message.items() if key in kept}

    messages = right.messages and [trimmed(message) for message in right.messages]
    usual = right.finish_reason in ("stop", "length", "tool_calls", "content_filter")
    return attrs.evolve(
        right,
        message=trimmed(right.message),
        messages=messages,
        finish_reason=right.finish_reason if usual else None,
        fields={},
    )


def holds(got: Any, right: Any) -> bool:
    """Whether it is the same, but for what is void, and for what the library adds."""
    if isinstance(right, dict):
        return isinstance(got, dict) and all(
            holds(got.get(key), value) for key, value in right.items()
        )
    if isinstance(right, list) and right:
        return isinstance(got, list) and len(got) == len(right) and all(map(holds, got, right))
    return got == right or (got in VOID and right in VOID)


def compare(litellm: str, node: Path) -> int:
    """Play all to all, and write what is found; 1 if something is not right here."""
    told = versions(litellm, node)
    verdicts: dict[str, dict[str, str]] = {}
    for library, player in players(litellm, node).items():
        for report in REPORTS:
            outcome, times = played(report, player)
            if library == "ours":
                found = verdict(report, outcome, times)
            else:
                found = verdict_of_peer(library, report, outcome)
            if found != UNPLAYED:
                verdicts.setdefault(report.name, {})[library] = found
        player.close()
        found_by = [one[library] for one in verdicts.values() if library in one]
        print(f"{library}: {found_by.count(RIGHT)} of {len(found_by)}", flush=True)
    ours = {report.name: verdicts[report.name].pop("ours") == RIGHT for report in REPORTS}
    wrong = [one.name for one in REPORTS if one.ours == RIGHT and not ours[one.name]]
    date = str(datetime.datetime.now(datetime.timezone.utc).date())
    written = {"date": date, "versions": told, "verdicts": verdicts}
    PEERS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"written: {PEERS.relative_to(ROOT)} and {DOCUMENT.relative_to(ROOT)}")
    print("".join(f"wrong here: {name}\n" for name in wrong), end="")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Play the reports to a library.")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="only ours, as it is there")
    parser.add_argument("-k", default="", metavar="WORD", help="with it: rows whose names have it")
    parser.add_argument("--litellm", default=sys.executable, help="a Python that has litellm")
    parser.add_argument("--node", type=Path, help="the folder in which npm has installed openai")
    arguments = parser.parse_args()
    if arguments.before is not None:
        return before(arguments.before, arguments.k)
    if arguments.node is None:
        parser.error("give --before or --node")
    return compare(arguments.litellm, arguments.node)


if __name__ == "__main__":
    sys.exit(main())
