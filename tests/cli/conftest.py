"""What every test of the command gets: an environment that leads to the server, ways to run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from processes import COMMAND, PATIENCE, SHELL, Terminal

from openai_stream.testing import ScriptedServer


@pytest.fixture
def environment(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables that lead the command to the server, in this process and for others."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-of-the-tests")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.base_url.removesuffix("/v1"))
    return dict(os.environ)


@pytest.fixture
def run(
    environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command through pipes."""

    def run(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            env={**environment, **env},
            cwd=tmp_path,
            timeout=PATIENCE,
            check=False,
        )

    return run


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> SHELL:
    """Run a line in bash, in which ``ask`` is the command."""

    def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f'ask() {{ "{COMMAND[0]}" -m openai_stream "$@"; }}; {line}'],
            cwd=tmp_path,
            env={**environment, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return shell


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run the command on a terminal."""
    with ExitStack() as stack:

        def terminal(*arguments: str, width: int = 80, **env: str) -> Terminal:
            opened = Terminal([*COMMAND, *arguments], {**environment, **env}, tmp_path, width)
            stack.callback(opened.close)
            return opened

        yield terminal
