"""What an event costs, counted and held against the recorded budget.

A busy machine changes no count. Where one is over its budget, the failure shows which module
executes how much; a change that is worth it records its cost with
``python -m benchmarks.guard --renew``.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.guard import COUNTED
from benchmarks.server import ServerProcess

ROOT = Path(__file__).parents[1]
BUDGET = ROOT / "benchmarks" / "budget.cfg"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
COUNTS = ("bytecode", "blocks")

recorded = configparser.ConfigParser()
recorded.read(BUDGET)

pytestmark = [
    pytest.mark.skipif(
        not all(recorded.has_option(what, VERSION) for what in COUNTS),
        reason=f"benchmarks/budget.cfg has no budget for Python {VERSION}",
    ),
    pytest.mark.skipif(
        sys.implementation.name != "cpython", reason="what is counted is CPython's own"
    ),
]


def guard(what: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.guard", what, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize("what", COUNTS)
def test_an_event_costs_no_more_than_recorded(what: str) -> None:
    told = guard(what)
    assert told.returncode == 0, told.stdout
    assert f"{what}: " in told.stdout


def test_one_per_cent_more_is_noticed(tmp_path: Path) -> None:
    what = "blocks"
    path = tmp_path / "budget.cfg"
    assert guard(what, "--renew", "--budget", str(path)).returncode == 0
    budget = configparser.ConfigParser()
    budget.read(path)
    budget[what][VERSION] = str(float(budget[what][VERSION]) / 1.01)
    with path.open("w") as file:
        budget.write(file)
    told = guard(what, "--budget", str(path))
    assert told.returncode == 1, told.stdout
    assert "MORE than" in told.stdout


def test_parts_cost_little_more_than_events() -> None:
    with ServerProcess() as server:
        command = [sys.executable, "-m", COUNTED, "parts", server.base_url]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    told = json.loads(done.stdout)
    assert 300 < told["events"] < told["parts"] <= 1.4 * told["events"], told
