"""The Pythons that the package says it runs on are those that it is checked on."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
CLASSIFIERS = re.findall(r"Python :: (3\.\d+)$", SETUP["metadata"]["classifiers"], re.MULTILINE)
CI = (ROOT / ".ci" / "run").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yaml").read_text()


def test_classifiers_leave_no_version_out() -> None:
    minors = [int(version.partition(".")[2]) for version in CLASSIFIERS]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_workflow_sets_all_of_them_up() -> None:
    block = re.search(r"python-version: \|\n((?: +3\.\d+\n)+)", WORKFLOW)
    assert block is not None
    assert sorted(block[1].split()) == sorted(CLASSIFIERS)


def test_the_check_runs_on_all_of_them() -> None:
    others = re.search(r"^OTHERS=\$\{OTHERS:-([\d. ]+)\}$", CI, re.MULTILINE)
    main = re.search(r"PYTHON=python(3\.\d+) bash \.ci/run", CI)
    assert others is not None
    assert main is not None
    assert sorted([*others[1].split(), main[1]]) == sorted(CLASSIFIERS)
    assert main[1] == re.findall(r"^ +(3\.\d+)$", WORKFLOW, re.MULTILINE)[-1]


def test_the_lowest_one_is_the_same_everywhere() -> None:
    lowest = CLASSIFIERS[0]
    assert SETUP["options"]["python_requires"] == f">={lowest}"
    assert f"\nLOWEST={lowest}\n" in CI
    tools = (ROOT / "pyproject.toml").read_text()
    assert f'python_version = "{lowest}"' in tools
    assert f'target-version = "py{lowest.replace(".", "")}"' in tools
    for page in ("README.rst", "CONTRIBUTING.rst", "docs/tutorial.rst"):
        assert f"Python {lowest} " in (ROOT / page).read_text()
