"""What the tests of the examples get: all that the library's own get, a browser and a display.

Where these are missing, tests are skipped with a reason; where the environment variable
``OPENAI_STREAM_REQUIRE_BROWSER`` is set, they fail, so that no run by mistake tests less. Pictures
for the documentation are taken where ``OPENAI_STREAM_PICTURES`` names the folder for them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

import openai_stream
from openai_stream.testing import ScriptedServer

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Read at import: the tests' own environment has no variable of the library's prefix.
REQUIRED = bool(os.environ.get("OPENAI_STREAM_REQUIRE_BROWSER"))
PICTURES = os.environ.get("OPENAI_STREAM_PICTURES")

# The library's conftest.py is a neighbour, not above: pytest would not find it by itself.
_spec = importlib.util.spec_from_file_location(
    "library_conftest", Path(__file__).parents[1] / "tests" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_library = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_library)
pytest_configure = _library.pytest_configure
pytest_unconfigure = _library.pytest_unconfigure
pytest_runtest_protocol = _library.pytest_runtest_protocol
pytest_enter_pdb = _library.pytest_enter_pdb
pytest_runtest_makereport = _library.pytest_runtest_makereport
_leaves_nothing = _library._leaves_nothing
_clean_environment = _library._clean_environment
server = _library.server


def _missing(what: str) -> NoReturn:
    reason = f"{what} is not installed"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def _program(*names: str) -> str:
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    _missing(names[0])


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A real browser, without a window."""
    browser, driver = _program("chromium", "google-chrome"), _program("chromedriver")
    if importlib.util.find_spec("selenium") is None:
        _missing("selenium")
    from selenium import webdriver  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",  # as root there is none
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-component-update",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        chrome.set_page_load_timeout(30)
        yield chrome


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The name of a display: the one that is there, or a virtual one.

    It stays to the end: a toolkit ends the process when it loses the display it was connected to.
    """
    if os.environ.get("DISPLAY"):
        yield os.environ["DISPLAY"]
        return
    reading, writing = os.pipe()
    with (
        open(reading) as told,
        subprocess.Popen(
            [_program("Xvfb"), "-displayfd", str(writing), "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        ) as xvfb,
    ):
        os.close(writing)
        try:
            # It chooses a free one, and says which when it is ready.
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DISPLAY", f":{told.readline().strip()}")
                yield os.environ["DISPLAY"]
        finally:
            xvfb.terminate()


Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(server: ScriptedServer, request: pytest.FixtureRequest) -> Iterator[Launch]:
    """Starts the example, the script beside the test, as a process that asks the scripted server.

    The arguments are the script's, the keywords more for its environment.
    """
    (script,) = {*request.path.parent.glob("*.py")} - {request.path}
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-X", "dev", str(script), *arguments],
                env={
                    **os.environ,
                    "OPENAI_BASE_URL": server.base_url,
                    "PYTHONPATH": str(Path(openai_stream.__file__).parents[1]),
                    "PYTHONUNBUFFERED": "1",
                    **environment,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def pictures() -> Path:
    """The folder for pictures; without one, the test that takes them is skipped."""
    if PICTURES is None:
        pytest.skip("OPENAI_STREAM_PICTURES names no folder for pictures")
    folder = Path(PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
