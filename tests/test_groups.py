"""Which tests one process runs, where several share them: as it is said, and as it happens."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from machine import HELD_UP
from sharing import group_of, in_order

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "names",
    [
        ["tests/real/test_tools.py::test_a", "tests/real/test_command.py::test_b[x::y]"],
        ["tests/races/test_races.py::test_a", "tests/races/test_sharing.py::test_b"],
        ["examples/resume/test_resume.py::test_a", "examples/resume/test_more.py::TestB::test_b"],
    ],
)
def test_what_shares_a_model_or_the_machine_is_together(names: list[str]) -> None:
    assert len({group_of(name) for name in names}) == 1


def test_each_example_is_for_itself() -> None:
    assert group_of("examples/resume/test_a.py::test_a") != group_of("examples/tk_chat/t.py::test")


def test_what_takes_long_is_alone() -> None:
    names = [f"tests/cli/test_dask.py::test_{n}" for n in range(20)]
    assert len({group_of(name) for name in names}) == 20


def test_a_module_has_a_few_parts() -> None:
    groups = {group_of(f"tests/test_a.py::test_{n}") for n in range(1000)}
    assert 1 < len(groups) < 10
    assert not groups & {group_of(f"tests/test_b.py::test_{n}") for n in range(1000)}


def test_what_takes_long_comes_first() -> None:
    names = [f"tests/test_{letter}.py::test_{n}" for letter in "abc" for n in range(100)]
    long = ["tests/real/test_tools.py::test", "tests/test_cost.py::test", "examples/a/t.py::test"]
    assert set(sorted(names + long, key=in_order)[:3]) == set(long)


def test_groups_stay_together_in_order() -> None:
    names = [f"tests/test_{letter}.py::test_{n}" for letter in "abc" for n in range(100)]
    groups = [group_of(name) for name in sorted(names, key=in_order)]
    changes = sum(one != other for one, other in itertools.pairwise(groups))
    assert changes == len(set(groups)) - 1


def test_processes_get_groups() -> None:
    """``pytest-xdist`` may lose its ways to say so: its own marker has no effect any more."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider"),
            *("tests/test_causes.py", "tests/test_content.py", "tests/test_statuses.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    processes = defaultdict(set)
    for process, name in re.findall(r"^\[(gw\d)\] .*? PASSED (tests/.*?) *$", ran.stdout, re.M):
        processes[group_of(name)].add(process)
    assert len(processes) > 6
    assert {len(those) for those in processes.values()} == {1}
    assert set.union(*processes.values()) == {"gw0", "gw1"}


#: A module, one of whose tests ends the process that it runs in, as a time limit does.
ENDED = """
import os
import pytest

@pytest.mark.parametrize("number", range(20))
def test_runs(number):
    pass

@pytest.mark.parametrize("number", range(3))
def test_ends(number):
    if number == {ends}:
        os._exit(1)
"""


@pytest.mark.parametrize("processes", ["1", "4"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_process_that_dies_costs_one_test(
    pytester: pytest.Pytester, number: int, processes: str
) -> None:
    """It cost the run and its coverage: the others waited for ever for what had been done."""
    pytester.makeconftest(
        f"""
        import sys

        sys.path.insert(0, {str(ROOT / "tests")!r})
        import sharing

        def pytest_xdist_make_scheduler(config, log):
            return sharing.scheduler(config, log)
        """
    )
    ended, whole = ENDED.format(ends=number), ENDED.format(ends=None)
    pytester.makepyfile(test_a=ended, test_b=ended, test_c=whole)
    options = ["-n", processes, "--max-worker-restart", "4"]
    ran = pytester.runpytest_subprocess(*options, timeout=30.0 * HELD_UP)
    ran.assert_outcomes(passed=2 * 22 + 23, failed=2)
