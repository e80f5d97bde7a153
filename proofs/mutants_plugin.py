"""A pytest plugin for mutants: what makes their verdicts worth something.

* A hanging test is told from one that fails. The suite's own limit of a minute a test would do, but
  with the status of a failed test. Here the process dies of ``SIGALRM``, which no lock and no
  endless loop keeps it from.
* A test that fails without a mutant, as one that measures time may on a loaded machine, is left out
  for all mutants: it would pass for one that notices them. Under a mutant, what fails must do so
  twice (by ``pytest-rerunfailures``).
* Hypothesis tries the same examples each time.

Asked to by ``mutants.py``, it also tries mutants by itself, of which most are killed in no time: in
forks of a process that has collected the tests once, the quick tests first.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from mutmut.core import MutmutCallStack
from mutmut.mutation.trampoline import set_mutant_under_test

_SECONDS = 15.0
_TIMES = 5.0  # as long as it took without a mutant

_UNRELIABLE = Path("unreliable.txt")
_TO_TRY, _TRIED = Path("to_try.json"), Path("tried.json")
_FORKS = 2

_usual: dict[str, float] = {}

# What fails may stay large.
settings.register_profile(
    "mutants", derandomize=True, phases=[Phase.explicit, Phase.generate], database=None
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pure", action="store_true", help="leave out what plays a server")


def pytest_configure() -> None:
    settings.load_profile("mutants")
    if _under_test() == "stats":
        # While mutmut notes which test reaches which function it also keeps, in a context variable,
        # who called whom. That is not wanted, and breaks where a finalizer runs in the middle.
        MutmutCallStack.set = classmethod(lambda *_: None)
        MutmutCallStack.reset = classmethod(lambda *_: None)
    elif "__mutmut_" in _under_test():
        os.environ["PYTHONPATH"] = os.getcwd()  # scripts that tests start see the mutant too
        _usual.update(_stats()["duration_by_test"])


def pytest_sessionstart() -> None:
    if _under_test() == "fail":
        # Every function raises then, for mutmut to see that tests fail; finalizers too.
        sys.unraisablehook = lambda _: None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if not _TO_TRY.exists() or _under_test():
        return None
    stats = _stats()
    usual, reached = stats["duration_by_test"], stats["tests_by_mangled_function_name"]
    items = {item.nodeid: item for item in session.items}
    running: dict[int, str] = {}
    ended: dict[str, int] = {}

    def wait() -> None:
        pid, status = os.wait()
        ended[running.pop(pid)] = os.waitstatus_to_exitcode(status)

    for key in json.loads(_TO_TRY.read_text()):
        names = sorted(reached.get(key.partition("__mutmut_")[0], ()), key=usual.__getitem__)
        if len(running) == _FORKS:
            wait()
        if pid := os.fork():
            running[pid] = key
        else:
            os.environ["PYTHONPATH"] = os.getcwd()
            set_mutant_under_test(key)
            _usual.update(usual)
            os._exit(_first_failure([items[name] for name in names if name in items]))
    while running:
        wait()
    _TO_TRY.unlink()
    _TRIED.write_text(json.dumps(ended))
    return True


def _first_failure(items: list[pytest.Item]) -> int:
    """Run tests up to the first one that fails.

    :returns: 1 if there is one, as pytest does.
    """
    with suppress(BaseException):
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.testsfailed:
                return 1
        return 0
    return 1


def _stats() -> dict[str, Any]:
    """Which test reaches which function, and how long it takes, as mutmut has noted."""
    stats: dict[str, Any] = json.loads(Path("mutmut-stats.json").read_text())
    return stats


def _under_test() -> str:
    """A mutant, or what mutmut does: nothing is changed in ``""`` and ``"stats"``."""
    return os.environ.get("MUTANT_UNDER_TEST", "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = _UNRELIABLE.read_text().splitlines() if _UNRELIABLE.exists() else []
    # mutmut asks for tests by their ids, and pytest does not find one with two backslashes again.
    items[:] = [item for item in items if item.nodeid not in left_out and "\\\\" not in item.nodeid]
    if config.getoption("--pure"):
        items[:] = [item for item in items if "server" not in getattr(item, "fixturenames", ())]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _under_test() in ("", "stats"):
        with _UNRELIABLE.open("a") as file:
            print(item.nodeid, file=file)
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, "it fails without a mutant")
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    item.stash = pytest.Stash()  # without the notes of an attempt that failed
    if _usual:
        signal.setitimer(signal.ITIMER_REAL, _SECONDS + _TIMES * _usual.get(item.nodeid, 0.0))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
