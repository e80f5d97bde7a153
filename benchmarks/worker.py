"""A contestant in a process of its own, which lives over all rounds: warm-up is paid once.

The two sides of a pipe: :class:`Worker` asks, :func:`main` answers. A line is a JSON array: the
name of a topic, which has the function ``measure`` to be called with the contestant, and its
arguments. The answer is what the function returns.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .registry import CONTESTANTS
from .server import allow_many_files

ROOT = Path(__file__).parents[1]


class TooSlow(Exception):
    """The time for a measurement is over; it says whose."""


class Worker:
    """A process with one contestant. A context manager.

    :param python: the interpreter of the environment that has its library.
    :param name: of its class.
    """

    def __init__(self, python: str, name: str, base_url: str) -> None:
        self.name = name
        self.title = CONTESTANTS[name].title
        self._command = [python, "-m", __name__, name, base_url]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def measure(self, topic: str, within: float | None = None, **arguments: Any) -> Any:
        """Have something measured, and wait for it.

        :param within: seconds that it may take.
        :raises TooSlow: it took longer; the next measurement is that of a new process.
        """
        process = self._process
        assert process.stdin is not None
        process.stdin.write(json.dumps([topic, arguments]) + "\n")
        process.stdin.flush()
        if within is None:
            return self.answer()
        timer = threading.Timer(within, process.kill)
        timer.start()
        try:
            return self.answer()
        except RuntimeError:
            if not timer.finished.is_set():
                raise
            self._end()
            self._process = self._start()
            self.answer()
            raise TooSlow(f"{self.title}: not done after {within:.0f} seconds") from None
        finally:
            timer.cancel()

    def answer(self) -> Any:
        """Wait for the next answer; the first says that the contestant is ready."""
        process = self._process
        assert process.stdout is not None
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self.title} ended with {process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def environment() -> dict[str, str]:
    """The environment without what would change a client: keys, addresses, proxies, tracing."""
    foreign = ("OPENAI_", "AZURE_", "LITELLM_", "COVERAGE_", "PYTHON")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }


def main(name: str, base_url: str) -> None:
    allow_many_files()
    # Some libraries print; what they print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant = CONTESTANTS[name](base_url)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        topic, arguments = json.loads(line)
        module = importlib.import_module(f"{__package__}.topics.{topic}")
        measure: Callable[..., Any] = module.measure
        print(json.dumps(measure(contestant, **arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
