"""The track that a race runs on, its time limit, and the figures at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from racing import FIGURES, RUNS, Track, a_track


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.limit(60 + 0.3 * RUNS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES and "RUNS" in os.environ:
        terminalreporter.section("races: milliseconds to the outcome")
        terminalreporter.write_line(f"{'':66}{'runs':>6}{'median':>9}{'slowest':>9}")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture
def track(request: pytest.FixtureRequest) -> Iterator[Track]:
    with a_track(request.node.name.removeprefix("test_").replace("_", " ")) as track:
        yield track
