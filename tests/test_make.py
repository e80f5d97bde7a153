"""The commands that README.rst begins with: what they say before they take their time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> str:
    """What it prints; without the settings of the make that runs the tests."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=50, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    ("target", "variable", "said"),
    [
        ("demo", "DEMO_VENV", r"Making \S+ \(about \d+ MB to fetch the first time\)"),
        ("test", "VENV", r"Making \S+"),
        ("docs", "DOCS_VENV", r"Making \S+"),
    ],
)
def test_a_first_run_says_what_it_makes_and_lets_pip_speak(
    target: str, variable: str, said: str, tmp_path: Path
) -> None:
    lines = make("--dry-run", target, f"{variable}={tmp_path / 'none'}").splitlines()
    first = next(line for line in lines if str(tmp_path) in line)
    assert re.fullmatch(f'echo "{said}"', first)
    pips = [line for line in lines if "-m pip install" in line]
    assert pips
    assert not any("--quiet" in line or " -q" in line for line in pips)


def test_make_alone_says_what_there_is() -> None:
    said = make()
    for target in ("demo", "test", "docs", "check", "cluster"):
        assert re.search(rf"(?m)^make {target} +\S", said)


def test_the_pages_need_an_environment_of_their_own() -> None:
    """What the tests need takes minutes to install."""
    text = make("--dry-run", "docs", "DOCS_VENV=/nowhere/docs", "VENV=/nowhere/tests")
    assert "/nowhere/docs" in text
    assert "/nowhere/tests" not in text
