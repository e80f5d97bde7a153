"""The plugin in the projects of others, most of which never ask for the library.

pytest imports it wherever the library is installed, before anything of the project's own.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import openai_stream

SOURCES = Path(openai_stream.__file__).parent.parent
PASSES = "def test_it():\n    pass\n"
#: What nobody may find imported who has not asked for it.
OURS = ("openai_stream", "requests", "sseclient", "urllib3")

#: Other plugins that are installed here, some of which import what they patch.
OTHERS = {one.name for one in entry_points(group="pytest11")} - {"openai_stream", "xdist"}

Project = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Run pytest over a project of these files, with our plugin installed; what it says."""
    site, home = tmp_path / "site", tmp_path / "project"
    home.mkdir()
    if (SOURCES / "setup.cfg").exists():
        # As pip leaves it, whatever is installed for this run: pytest takes the first of a name.
        config = configparser.ConfigParser()
        config.read(SOURCES / "setup.cfg")
        info = site / "openai_stream-0.0.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openai-stream\nVersion: 0\n")
        points = config["options.entry_points"]["pytest11"]
        (info / "entry_points.txt").write_text(f"[pytest11]\n{points}\n")
        (info / "RECORD").write_text("openai_stream/__init__.py,,\n_openai_stream_pytest.py,,\n")

    def project(*arguments: str, status: int = 0, **files: str) -> str:
        for name, text in files.items():
            (home / f"{name}.py").write_text(text)
        process = subprocess.run(
            [sys.executable, *(arguments or ("-m", "pytest"))],
            cwd=home,
            env={
                **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
                "PYTHONPATH": os.pathsep.join([str(site), str(SOURCES), *sys.path]),
                "PYTEST_ADDOPTS": " ".join(f"-p no:{name}" for name in ("cacheprovider", *OTHERS)),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == status, process.stdout
        return process.stdout

    return project


def test_imports_nothing_until_a_fixture_is_used(project: Project) -> None:
    looks = f"""
import sys

def found():
    return [name for name in {OURS} if name in sys.modules]

def test_before():
    assert found() == []

def test_used(stream_client, stream_server):
    assert len(found()) == {len(OURS)}
"""
    assert "2 passed" in project(test_it=looks)


def test_gevent_patches_in_a_conftest(project: Project) -> None:
    """Patched after ``urllib3`` was imported, each TLS context is a ``RecursionError``."""
    pytest.importorskip("gevent")
    project(
        "-m", "pytest", "-W", "error",
        conftest="from gevent import monkey\nmonkey.patch_all()\n",
        test_it="""
import urllib3.util.ssl_

def test_tls():
    urllib3.util.ssl_.create_urllib3_context()

def test_a_stream(stream_client, stream_server):
    from openai_stream.testing import answer
    stream_server.play(answer("Hello"))
    events = stream_client.create_chat_completion(model="m", messages=[], stream=True)
    assert "".join(events.text()) == "Hello"
""",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requests", "LIST = []\n"),
        ("requests", "raise RuntimeError('these are other requests')\n"),
        ("requests", "import warnings\nwarnings.warn('old', DeprecationWarning)\n"),
        ("requests", "import sys\nsys.exit('not here')\n"),
        ("urllib3", "import no_such_module\n"),
        ("sseclient", "raise RuntimeError('another client')\n"),
        ("attr", "import no_such_module\n"),
    ],
)
def test_leaves_a_project_its_own_modules(project: Project, name: str, text: str) -> None:
    """Or those of an environment in which they are broken, as long as nothing of ours is asked."""
    project("-m", "pytest", "-W", "error", **{name: text, "test_it": PASSES})


def test_leaves_a_program_alone_that_runs_pytest(project: Project) -> None:
    """One that has imported the library already, and has warnings be errors."""
    program = "import openai_stream, pytest\nraise SystemExit(pytest.main(['-W', 'error']))\n"
    project("main.py", main=program, test_it=PASSES)


def test_runs_with_xdist(project: Project) -> None:
    pytest.importorskip("xdist")
    project("-m", "pytest", "-W", "error", "-n", "2", test_it=PASSES)


def test_can_be_left_out(project: Project) -> None:
    asks = "def test_it(stream_server):\n    pass\n"
    assert "1 passed" in project(test_it=asks)
    said = project("-m", "pytest", "-p", "no:openai_stream", test_it=asks, status=1)
    assert "fixture 'stream_server' not found" in said
    assert "1 passed" in project("-m", "pytest", "-p", "no:openai_stream", test_it=PASSES)


def test_can_be_asked_for(project: Project) -> None:
    """Where plugins are not loaded by themselves."""
    asks = "def test_it(stream_server):\n    pass\n"
    alone = ("-c", "import os, sys, pytest\nos.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'\n"
             "sys.exit(pytest.main(sys.argv[1:]))")  # fmt: skip
    project(*alone, status=1, test_it=asks)
    assert "1 passed" in project(*alone, "-p", "openai_stream", test_it=asks)


def test_leaves_fixtures_of_the_same_name_to_the_project(project: Project) -> None:
    own = "import pytest\n\n@pytest.fixture\ndef stream_server():\n    return 5\n"
    asks = "def test_it(stream_server):\n    assert stream_server == 5\n"
    assert "1 passed" in project(conftest=own, test_it=asks)


def test_says_what_its_fixtures_are(project: Project) -> None:
    said = project("-m", "pytest", "--fixtures")
    for name in ("stream_server", "stream_client", "stream_default_client"):
        assert f"{name} -- " in said
