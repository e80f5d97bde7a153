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
import json
import os
import select
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

from reported.row import JSON  # noqa: E402 - the tests are no package
from reported.verdict import RIGHT, played, verdict  # noqa: E402
from reports import REPORTS  # noqa: E402

HANGS = 20.0  # seconds after which a row is given up; the players' own deadlines are shorter


class Player:
    """A process with a library, started when it is needed."""

    def __init__(self, command: list[str], *, cwd: Path, path: Path) -> None:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", required=True)
    parser.add_argument("-k", default="", metavar="WORD", help="only rows whose names have it")
    arguments = parser.parse_args()
    return before(arguments.before, arguments.k)


if __name__ == "__main__":
    sys.exit(main())
