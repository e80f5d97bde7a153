"""The interpreter that streams run in: which threads it gives, and how it ends.

At its exit the interpreter waits for callbacks, not for queues, and leaves nothing running. The
reader threads are daemons, since a thread that is not makes Ctrl-C need two signals: one for the
script, one for the wait at its end. What a plain thread would have done is done here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from openai_stream.errors import OpenAIStreamError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Exit", "LiveReader", "live"]

_GRACE = 1.0  # seconds that the exit waits for readers that were stopped


class LiveReader(Protocol):
    """A reader whose thread runs, as the exit sees it."""

    @property
    def is_waited_for(self) -> bool:
        """The interpreter does not end before it."""

    @property
    def left(self) -> threading.Event:
        """Set when it has nothing more to do."""

    @property
    def inherited(self) -> bool:
        """This is a forked child, which has no such thread."""

    def cancel_soon(self) -> None:
        """Have it end, without ever waiting."""

    def join(self, seconds: float) -> None:
        """Wait for its thread, so long at most."""

    def end_copy(self) -> None:
        """In a child that was just forked, perhaps by its own thread."""


#: Those of this process, and of the one that it was forked from.
live: set[LiveReader] = set()


class Exit:
    """What is done at the interpreter's exit; once in each process and each interpreter."""

    #: Whether a reader is a daemon: everywhere but in subinterpreters, which have none.
    daemon = True

    _prepared_in: int | None = None  # a process
    _interrupted = False  # while it waited
    _left = False  # ``atexit`` had its turn

    @classmethod
    def prepare(cls) -> None:
        """At the first stream, before anything is sent: importing has no side effects.

        :raises OpenAIStreamError: this interpreter gives no threads, or no more.
        """
        if sys.is_finalizing():  # a ``__del__`` calls: a thread would never run
            raise OpenAIStreamError(
                "cannot start a reader thread: the interpreter is shutting down. With stream=False "
                "no thread is needed"
            )
        if (green := sys.modules.get("gevent.monkey")) is not None:
            cls._check_patched(green)
        if cls._prepared_in == os.getpid():
            return
        cls._try_a_thread()
        if cls._prepared_in is None and hasattr(os, "register_at_fork"):  # children inherit it
            os.register_at_fork(after_in_child=cls._end_copies)
        cls._prepared_in = os.getpid()
        atexit.unregister(cls._leave)  # inherited from a parent
        # Handlers run last in, first out: this one has that of ``weakref``, which closes the
        # connections that urllib3 keeps, run after ours, when they have come back.
        weakref.finalize(cls, bool)
        atexit.register(cls._leave)
        # Threads that are no daemons are waited for before ``atexit`` has its turn, and unread
        # queues would be waited for forever. This is what ``concurrent.futures`` uses.
        before_threads: Callable[..., object] | None = getattr(threading, "_register_atexit", None)
        if not cls.daemon and before_threads is not None:
            before_threads(cls._leave)
        # A child of multiprocessing has an exit of its own. Before Python 3.14 one that was forked
        # has no other: it leaves by os._exit(), past atexit. Whoever is one has imported these.
        cls._left = False  # a parent's exit is not this one's
        process, util = map(sys.modules.get, ("multiprocessing.process", "multiprocessing.util"))
        if process is not None and util is not None and process.parent_process() is not None:
            util.Finalize(None, cls._leave_child, exitpriority=100)

    @staticmethod
    def _end_copies() -> None:
        """A child whose parent's callback has forked has a copy of the thread that called it."""
        for reader in list(live):
            reader.end_copy()

    @staticmethod
    def _check_patched(monkey: ModuleType) -> None:
        """gevent's sockets belong to one thread: what waits for headers and what reads are two, if
        its threads are the system's.
        """
        if monkey.is_module_patched("socket") and not monkey.is_module_patched("threading"):
            raise OpenAIStreamError(
                "cannot start a reader thread: gevent has patched sockets, and threads not. "
                "monkey.patch_all() without thread=False patches both; with stream=False no thread "
                "is needed"
            )

    @classmethod
    def _try_a_thread(cls) -> None:
        try:
            try:
                cls.daemon = True
                thread = threading.Thread(target=bool, daemon=True)
            except RuntimeError:  # an isolated subinterpreter
                cls.daemon = False
                thread = threading.Thread(target=bool, daemon=False)
            thread.start()
        except RuntimeError as error:
            raise OpenAIStreamError(f"cannot start a reader thread: {error}") from error
        thread.join()

    @classmethod
    def _leave(cls) -> None:
        cls._left = True
        cls._end()
        # A child of multiprocessing comes here too, on some Pythons, after its own exit.
        if cls._interrupted and _Killed.__name__ not in sys.modules:
            sys.modules[_Killed.__name__] = _Killed(_Killed.__name__)

    @classmethod
    def _end(cls) -> None:
        try:
            if not cls._is_interrupted():
                cls._wait_for_callbacks()
        except KeyboardInterrupt:
            # An exception would become "Exception ignored in atexit callback", and status 0.
            cls._interrupted = cls._leave_it_to_the_system()
            if not cls._interrupted:
                raise
        finally:
            cls._stop_readers()

    @classmethod
    def _leave_child(cls) -> None:
        try:
            cls._end()
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # what multiprocessing makes of one, without a traceback
        # A spawned child ends as a script does. Another one's status comes after all that others
        # have left to be done, such as what a queue has still to send.
        child = sys.modules["multiprocessing"]
        if cls._interrupted and child.get_start_method() != "spawn":
            child.util.Finalize(None, cls._fail, exitpriority=-sys.maxsize)

    @classmethod
    def _fail(cls) -> None:
        if cls._left:  # from Python 3.14 on the status is settled by now, and an exception printed
            os._exit(1)
        raise SystemExit(1)

    @classmethod
    def _wait_for_callbacks(cls) -> None:
        # One after another, and those that callbacks start meanwhile as well.
        while reader := next((one for one in list(live) if one.is_waited_for), None):
            # No ``join()``: before Python 3.13, one that was interrupted takes the thread for
            # ended ever after.
            reader.left.wait()

    @staticmethod
    def _stop_readers() -> None:
        until = time.monotonic() + _GRACE
        mine = [reader for reader in list(live) if not reader.inherited]
        for reader in mine:
            reader.cancel_soon()
        for reader in mine:
            reader.join(max(0.0, until - time.monotonic()))

    @staticmethod
    def _is_interrupted() -> bool:
        """The script ends by a Ctrl-C: it would be rude to ask for a second one."""
        last = getattr(sys, "last_type", None)
        interactive = hasattr(sys, "ps1")  # there ``last_type`` may be of long ago
        return last is not None and issubclass(last, KeyboardInterrupt) and not interactive

    @staticmethod
    def _leave_it_to_the_system() -> bool:
        """From now on SIGINT kills; not possible where signals are not this thread's."""
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            return True
        return False


class _Killed(ModuleType):
    """Ends the process by SIGINT, as Python itself does with a script that a Ctrl-C ended: a shell
    sees it, and ends its loop.

    Not before the interpreter takes its modules down, of which this is one for the purpose: by then
    all exit handlers have run, and what was printed is written.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Nothing else may be there any more when it is needed.
        self._kill, self._process, self._signal = os.kill, os.getpid(), signal.SIGINT

    def __del__(self) -> None:
        self._kill(self._process, self._signal)
