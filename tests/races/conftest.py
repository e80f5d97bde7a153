"""The track that a race runs on, its time limit, and the figures at the end."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from racing import FIGURES, RUNS, Track, a_track


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.limit(60 + 0.3 * RUNS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES and "RUNS" in os.environ:
        terminalreporter.section("races: milliseconds to the outcome")
        terminalreporter.write_line(f"{'':72}{'runs':>6}{'median':>9}{'slowest':>9}")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["tcp"])
def track(
    request: pytest.FixtureRequest,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Track]:
    """Over TCP; over TLS as well where a race asks for it (see ``over_both``)."""
    context = None
    if request.param == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    # As in "close_while_blocked[readers-tls]": over TCP, and with a thread each, is not said.
    name, _, more = request.node.name.removeprefix("test_").rstrip("]").partition("[")
    said = [one for one in more.split("-") if one not in ("", "own", "tcp")]
    with a_track(", ".join([name.replace("_", " "), *said]), context) as track:
        yield track
