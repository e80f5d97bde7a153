"""The prompts of a batch on the workers of a Dask cluster: one task each.

The process that started the batch decides about errors and writes the answers, as without a
cluster; a worker that dies takes nothing along that was written, and its tasks run elsewhere.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
import pkgutil
import queue
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from distributed import Client as Cluster
from distributed import Event, Future, KilledWorker, LocalCluster, secede

from openai_stream import OpenAIStreamError
from openai_stream._version import VERSION
from openai_stream.cli.characters import harmless
from openai_stream.cli.endpoints import ENDPOINTS
from openai_stream.cli.failures import Failure, told
from openai_stream.cli.notes import remark
from openai_stream.cli.targets import AnyClient, Target
from openai_stream.extras import install

from .prompts import WHOLE, Prompt
from .workers import Answer, Outcome, Work, WorkerDied, Workers, start

__all__ = ["DaskWorkers"]

_LOOK_EVERY = 1.0  # seconds between two looks at whether the batch is over
_LOOK_AGAIN = 0.05  # seconds between two looks at whether the scheduler is back
_MOST_PROCESSES = 4
_FETCHING = 5.0  # seconds
_CLOSING = 15.0  # seconds
_DIED = WorkerDied("the worker that had the prompt has died, several times")
_RESTARTED = WorkerDied("the Dask cluster was restarted while it had the prompt")


@functools.lru_cache(maxsize=8)
def _client(target: Target) -> AnyClient:
    """A worker's own client, with the key of its own environment."""
    return target.client(max_retries=0)


def _ask(target: Target, prompt: Prompt, run: str) -> Answer | Exception | None:
    """Ask a prompt, on a worker.

    An error is returned: of what a task raises, Dask logs the arguments.

    :returns: ``None`` where the batch was stopped meanwhile.
    """
    # It waits, most of the time: the worker may take on others. How many run the batch decides.
    secede()
    client = _client(target)  # of a key that is missing every prompt would have to tell
    try:
        if prompt.path in WHOLE:
            return Answer.in_one_piece(client, prompt)
        stream = start(client, prompt).stream
    except OpenAIStreamError as error:
        return error
    with stream:
        while True:
            try:
                failure = stream.exception(timeout=_LOOK_EVERY)
            except TimeoutError:
                if Event(_over(run)).is_set():
                    return None
                continue
            return Answer.of(ENDPOINTS[prompt.path], stream) if failure is None else failure


def _task(packed: bytes) -> tuple[str, Any]:
    """Do, on a worker, what was packed: a function, and its arguments.

    A worker takes this along whole, with nothing of ours: one that lacks the package could not even
    read :func:`_ask`, would write the prompt into its log, and everybody would wait for it forever.
    Nothing is raised, for the same reason: of a task that raises, a worker logs the arguments.

    :returns: ``"answered"`` and what came of it, or ``"unfit"`` and why the worker cannot do it.
    """
    try:
        import pickle  # noqa: PLC0415 - it has no module of its own there
        import threading  # noqa: PLC0415

        from distributed import get_worker  # noqa: PLC0415

        # To read it imports the package, for the first ones. Threads that import at the same time
        # may each wait for a module of the other's: Python has one of them fail.
        one_by_one = vars(get_worker()).setdefault("_openai_stream_reads", threading.Lock())
        with one_by_one:
            function, arguments = pickle.loads(packed)  # noqa: S301 - the cluster runs what it gets
        return "answered", function(*arguments)
    except Exception as error:
        return "unfit", f"{type(error).__name__}: {' '.join(str(error).split())}"


# Of a function of the program's own, Dask sends the code instead of the name.
_task.__module__ = "__main__"


def _over(run: str) -> str:
    return f"openai-stream-{run}-over"


def _unfit(why: str) -> Failure:
    hint = f"on each of them, {install('cli', 'dask')}, the same as here, and set the API key"
    return Failure(harmless(f"the Dask workers cannot do it: {why}; {hint}"))


@contextmanager
def _sigint_is_mine() -> Iterator[None]:
    """Have threads and processes that begin here not get a terminal's Ctrl-C.

    The terminal sends it to all processes. This one acts on it, and ends the others.
    """
    resource_tracker.ensure_running()  # when it begins it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DaskWorkers(Workers):
    """The workers of a Dask cluster.

    :param scheduler: its address, or ``"local"`` to start one on this machine.
    :param target: whom the workers ask.
    :param on_tokens: is told how many tokens an answer has.
    :raises Failure: there is no such cluster.
    """

    def __init__(self, scheduler: str, target: Target, on_tokens: Callable[[int], object]) -> None:
        self._target = target
        self._on_tokens = on_tokens
        self._run = uuid.uuid4().hex
        self._ended: queue.SimpleQueue[tuple[Work, Any]] = queue.SimpleQueue()
        self._futures: dict[Work, Any] = {}
        self._local: Any = None
        # What goes wrong is told in one line, and not with the tracebacks of Dask's own clean-up.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            if scheduler == "local":
                with _sigint_is_mine():
                    self._local = LocalCluster(
                        n_workers=min(os.cpu_count() or 1, _MOST_PROCESSES),
                        threads_per_worker=1,
                        dashboard_address=None,
                        # It serves its state nevertheless; on the usual port another one may be.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                        silence_logs=logging.CRITICAL,
                    )
            # Made in two steps: one that could not connect must be closed too, or its finalizer
            # waits, at the interpreter's exit, for a thread that is no more.
            self._cluster = Cluster.__new__(Cluster)
            try:
                self._cluster.__init__(self._local or scheduler, set_as_default=False)
            except BaseException:
                self._cluster.close(timeout=_CLOSING)
                raise
        except (OSError, ValueError, TimeoutError) as error:
            raise Failure(f"no Dask scheduler at {scheduler}: {told(error)}") from error
        try:
            self._probe()
        except BaseException:
            self.close()
            raise

    def _probe(self) -> None:
        """Refuse workers that lack this package, before any of them gets a prompt.

        Those that join later are found out by :func:`_task`.
        """
        # A function of the standard library: one of ours could not be read there.
        found = self._cluster.run(pkgutil.resolve_name, f"{__name__}:VERSION", on_error="return")
        for worker, version in found.items():
            if isinstance(version, BaseException):
                raise _unfit(f"{worker}: {type(version).__name__}: {told(version)}")
            if version != VERSION:
                raise _unfit(f"{worker} has openai-stream {version}, and here it is {VERSION}")
        if not found:
            remark("the Dask cluster has no workers yet; the prompts wait for them")

    def submit(self, work: Work) -> None:
        future = self._cluster.submit(
            _task,
            pickle.dumps((_ask, (self._target, work.prompt, self._run))),
            # Dashboards show it, and so it tells nothing.
            key=f"openai-stream-{uuid.uuid4().hex}",
            pure=False,
        )
        self._futures[work] = future
        future.add_done_callback(functools.partial(self._note, work))

    def _note(self, work: Work, future: Future) -> None:
        self._ended.put((work, future))

    def outcome(self, timeout: float | None) -> Outcome | None:
        try:
            work, future = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        del self._futures[work]
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return Outcome(work, error=_DIED)
            raise _unfit(f"{type(error).__name__}: {told(error)}")
        if future.status == "cancelled":
            return self._cut_off(work)
        # The worker that has the result may die before it is fetched. Dask would ask again, and
        # have everybody wait for it.
        if future.status == "lost":
            return Outcome(work, error=_DIED)
        try:
            kind, result = future.result(timeout=_FETCHING)
        except TimeoutError:
            return Outcome(work, error=_DIED)
        except (CancelledError, OSError):
            return self._cut_off(work)
        if kind == "unfit":
            raise _unfit(result)
        if not isinstance(result, Answer):
            return Outcome(work, error=result)
        if result.tokens is not None:
            self._on_tokens(result.tokens.answer)
        return Outcome(work, result)

    def _cut_off(self, work: Work) -> Outcome:
        """What comes of a prompt that Dask dropped, as it does with all when it is restarted.

        If the connection is lost it connects again by itself, to a new scheduler at the same
        address too, and gives up after ``distributed.comm.timeouts.connect``.

        :raises Failure: it gave up.
        """
        while self._cluster.status not in ("running", "closed"):
            time.sleep(_LOOK_AGAIN)
        if self._cluster.status == "closed":
            raise Failure("the Dask scheduler is gone")
        return Outcome(work, error=_RESTARTED)

    def close(self) -> None:
        if self._futures and self._cluster.status == "running":
            # A task that runs cannot be cancelled: it asks whether it is still wanted.
            with suppress(OSError, TimeoutError):
                Event(_over(self._run), client=self._cluster).set()
            self._cluster.cancel(list(self._futures.values()))
        self._cluster.close(timeout=_CLOSING)
        if self._local is not None:
            # Whatever it still waits for, everything is written, and its processes end with this.
            with suppress(TimeoutError):
                self._local.close(timeout=_CLOSING)
