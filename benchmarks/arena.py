"""What all topics share: the server, the contestants' processes, and taking turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .events import Answer
from .registry import CONTESTANTS
from .server import ServerProcess
from .worker import Worker


class Arena:
    """Where contestants meet.

    :param pythons: the interpreter of each environment: ``""`` the usual one, else by the name of
        an extra. Contestants of an extra that is not there are left out.
    :param quick: fewer rounds and shorter answers; the figures are rough.
    """

    def __init__(self, server: ServerProcess, pythons: dict[str, str], quick: bool) -> None:
        self.server = server
        self.pythons = pythons
        self.quick = quick

    def either(self, quick: Any, full: Any) -> Any:
        """One value for a quick run, the other for a full one."""
        return quick if self.quick else full

    @contextmanager
    def workers(self, names: Sequence[str]) -> Iterator[list[Worker]]:
        """A process for each contestant, all of them ready: starting takes CPU from others."""
        with ExitStack() as stack:
            workers = [
                stack.enter_context(Worker(self.pythons[extra], name, self.server.base_url))
                for name in names
                if (extra := CONTESTANTS[name].extra or "") in self.pythons
            ]
            for worker in workers:
                worker.answer()
            yield workers

    def rounds(
        self, workers: Sequence[Worker], rounds: int, topic: str, answer: Answer, **arguments: Any
    ) -> dict[str, list[Any]]:
        """Have all measure the same in turn, after a turn that does not count.

        :returns: for each contestant what it measured, round by round.
        """
        measured: dict[str, list[Any]] = {worker.name: [] for worker in workers}
        for turn in range(rounds + 1):
            for worker in workers:
                got = worker.measure(topic, model=answer.model, **arguments)
                if turn:
                    measured[worker.name].append(got)
        return measured


def tell(text: str) -> None:
    """What goes on, for whoever waits."""
    print(text, file=sys.stderr, flush=True)
