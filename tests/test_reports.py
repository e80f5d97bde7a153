"""Each report of ``reports.py`` over a real socket, and the table of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reported.ours import ours
from reported.row import Report, Situation
from reported.verdict import RIGHT, played, verdict
from reports import DOCUMENT, REPORTS, SITUATIONS, document

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_report(report: Report) -> None:
    found = verdict(report, *played(report, ours))
    if RIGHT not in (report.ours, found):
        pytest.xfail(report.ours)
    assert found == RIGHT
    assert report.ours == RIGHT, "it is right now: say so in the row"


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_situation_names_a_test(situation: Situation) -> None:
    path, _, name = situation.test.partition("::")
    function = name.rpartition("::")[2].partition("[")[0]
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"def {re.escape(function)}\(", source), situation.test


def test_the_rows_have_different_names() -> None:
    rows: list[Report | Situation] = [*REPORTS, *SITUATIONS]
    names = [row.name for row in rows]
    assert sorted(set(names)) == sorted(names)


def test_the_table_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/reports.py"
