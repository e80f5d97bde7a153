"""The plugin as users have it: the wheel, installed with pytest into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = Path(__file__).parent / "separate_project"
#: What pip says where it reaches no index.
OFFLINE = ("Could not find a version", "No matching distribution", "Connection", "Retrying")


def run(*command: object, cwd: Path) -> str:
    """What a command prints; skips where it is the network that fails."""
    # pytest's own settings, and those of coverage, are no business of the other project.
    kept = {"HOME", "PATH", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(("PIP_", "SSL_"))
    }
    process = subprocess.run(
        [str(one) for one in command],
        cwd=cwd,
        env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode and "pip" in command and any(one in process.stdout for one in OFFLINE):
        pytest.skip(f"the package index cannot be reached: {process.stdout[-300:]}")
    assert not process.returncode, process.stdout
    return process.stdout


@pytest.mark.limit(300)
def test_the_plugin_in_a_project_of_its_own(tmp_path: Path) -> None:
    if not (ROOT / "setup.cfg").exists():
        pytest.skip("there are no sources to build a wheel of")
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "README.rst",
        "LICENSE",
        "_openai_stream_pytest.py",
    ):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(
        ROOT / "openai_stream",
        sources / "openai_stream",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))

    # Its own pip would take longer to install than all the rest.
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, sources, cwd=tmp_path)
    (built,) = tmp_path.glob("openai_stream-*.whl")
    run(*pip, "install", "--quiet", "--no-compile", built, "pytest", cwd=tmp_path)
    strict = ("-X", "dev", "-W", "error")
    for wanted, options in (("pytest", strict), ("pytest<8", ())):
        if wanted == "pytest<8" and sys.version_info >= (3, 14):
            break  # it does not run there
        run(*pip, "install", "--quiet", "--no-compile", wanted, cwd=tmp_path)
        told = run(
            python, *options, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path / "project"
        )
        assert "plugins: openai-stream-" in told
        assert " passed in " in told
        assert "failed" not in told
