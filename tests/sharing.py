"""Where tests run in several processes, which of them one process runs, one after the other.

Those of a folder that share a model or need the machine for themselves; a test alone that takes
long; of any other module some part, so that what the module makes once is made a few times.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

__all__ = ["group_of", "in_order", "scheduler"]

#: Folders whose tests are for one process.
_TOGETHER = {"races", "real"}
#: Files in which one test may take half a minute.
_LONG = {
    *("test_cost", "test_dask", "test_docs", "test_proofs", "test_random_classes"),
    "test_separate_project",
}
_PARTS = 6  # of any other module


def group_of(name: str) -> str:
    """What is run together with the test of this name (its node id)."""
    return _group(name)[1]


def in_order(name: str) -> tuple[bool, int]:
    """To sort tests by: what takes long comes first, for at the end the other processes would wait
    for it. The rest has no pattern: of neighbours some compute, and others wait.
    """
    is_part, group = _group(name)
    return is_part, _number(group)


def _group(name: str) -> tuple[bool, str]:
    """Whether it is a part of a module, and what it is called."""
    path = PurePosixPath(name.partition("::")[0])
    if path.parent.name in _TOGETHER or path.parent.parent.name == "examples":
        return False, str(path.parent)
    if path.stem in _LONG:
        return False, name
    return True, f"{path}, part {_number(name) % _PARTS}"


def _number(text: str) -> int:
    """The same in each process, as its hash is not."""
    return zlib.crc32(text.encode())


def scheduler(config: Any, log: Any) -> Any:
    """What gives groups to the processes of ``pytest-xdist``, whose own marker for them has no
    effect with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - a test run may be without it

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        """Gives on what a process had before it that died, as at a test's time limit.

        That of ``pytest-xdist`` 3.8 gives it all out again, with what had been done and with the
        test that had ended it; and it leaves a process with one test, which waits for a second or
        for the end: the run never ended (its issues 1323, 1327 and 1378).
        """

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def remove_node(self, node: Any) -> str | None:
            """It has ended or died. Returns the test that was running, which is told as failed."""
            left = [
                (group, name)
                for group, tests in self.assigned_work.pop(node).items()
                for name, done in tests.items()
                if not done
            ]
            if not left:
                return None
            (_, died), *left = left
            for group, name in left:
                self.workqueue.setdefault(group, {})[name] = False
            for other in self.nodes:
                self._reschedule(other)
            return str(died)

        def _reschedule(self, node: Any) -> None:
            if node.shutting_down or node not in self.registered_collections:
                return  # a new one asks when it has collected
            while self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
                with suppress(OSError):  # it has just died: what it is given comes back
                    self._assign_work_unit(node)
            if not self.workqueue:
                node.shutdown()

    config.option.loadscopereorder = False  # they are in order
    return Groups(config, log)
