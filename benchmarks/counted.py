"""The work that :mod:`.guard` counts, each count in a process of its own."""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import openai_stream
from openai_stream import DONE, Client, EventQueue

from .contestants import MESSAGES, SSEClient
from .events import Answer

#: Counted is an answer of that many events, and one of twice as many.
EVENTS = 400
# Instructions of the interpreter are counted faster: the more events, the less a wait matters.
_MANY = 1200
_PASSES = 3
_WARM = 500  # events after which every shape of an event has been met often enough

_LIBRARY = Path(openai_stream.__file__).parent


def _read(client: Client, events: int) -> EventQueue[Any]:
    """Read an answer; the queue with its events."""
    model = Answer(events=events).model
    queue = client.create_chat_completion(model=model, messages=MESSAGES, stream=True)
    queue.stream.result()
    return queue


def _through(client: Client, events: int) -> None:
    """An answer into the queue, then out of it: in this order no two threads work at once."""
    queue = _read(client, events)
    while queue.get() is not DONE:
        pass


def _as_events(client: Client, events: int) -> None:
    for _ in _read(client, events):
        pass


def _as_parts(client: Client, events: int) -> None:
    for _ in _read(client, events).parts():
        pass


def bytecode(base_url: str) -> dict[str, float]:
    """Instructions of the interpreter per event, by module."""
    return _by_module(base_url, _through)


def parts(base_url: str) -> dict[str, float]:
    """Instructions of the interpreter per event, read as events and as parts."""
    ways = {"events": _as_events, "parts": _as_parts}
    return {name: sum(_by_module(base_url, way).values()) for name, way in ways.items()}


def _by_module(base_url: str, way: Callable[[Client, int], None]) -> dict[str, float]:
    client = Client(api_key="none", base_url=base_url)
    way(client, _WARM)
    once = _executed(lambda: way(client, _MANY))
    twice = _executed(lambda: way(client, 2 * _MANY))
    twice.subtract(once)
    modules: Counter[str] = Counter()
    for code, executed in twice.items():
        modules[_module(code)] += executed
    return {
        module: executed / _MANY
        for module, executed in modules.most_common()
        if module and executed >= _MANY / 100
    }


def _executed(work: Callable[[], object]) -> Counter[CodeType]:
    """How many instructions of which code the work executes, on all threads, at the least: where
    the server is late, a wait or two more are executed.
    """
    return min((_executed_once(work) for _ in range(_PASSES)), key=Counter.total)


def _executed_once(work: Callable[[], object]) -> Counter[CodeType]:
    counts: Counter[CodeType] = Counter()
    if sys.version_info >= (3, 12):
        monitoring = sys.monitoring
        tool, instruction = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION

        def count(code: CodeType, offset: int) -> None:
            counts[code] += 1

        monitoring.use_tool_id(tool, __name__)
        monitoring.register_callback(tool, instruction, count)
        monitoring.set_events(tool, instruction)
        try:
            work()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
        return counts

    def enter(frame: FrameType, event: str, arg: object) -> Any:
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    def step(frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            counts[frame.f_code] += 1
        return step

    threading.settrace(enter)
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return counts


def _module(code: CodeType) -> str:
    """Whose code it is; empty for other packages' and for this one's."""
    path = Path(code.co_filename)
    if _LIBRARY in path.parents:
        return str(path.relative_to(_LIBRARY.parent))
    if code.co_filename.startswith("<"):
        return code.co_filename  # written by the library at run time
    if "site-packages" in path.parts or Path(__file__).parent in path.parents:
        return ""
    return "/".join(path.parts[-2:])


def blocks(base_url: str) -> float:
    """Blocks of memory per event in the queue."""
    client = Client(api_key="none", base_url=base_url)
    _through(client, _WARM)

    def held(events: int) -> int:
        gc.collect()
        before = sys.getallocatedblocks()
        queue = _read(client, events)
        gc.collect()
        after = sys.getallocatedblocks()
        del queue
        return after - before

    held(EVENTS)
    once = held(EVENTS)
    return (held(2 * EVENTS) - once) / EVENTS


def through(base_url: str, events: int) -> None:
    """What ``valgrind`` watches."""
    client = Client(api_key="none", base_url=base_url)
    _through(client, _WARM)
    _through(client, events)


def bare(base_url: str, events: int) -> None:
    """The same for a loop without a thread, a queue and types."""
    contestant = SSEClient(base_url)
    contestant.drain(Answer(events=_WARM).model)
    contestant.drain(Answer(events=events).model)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bytecode", url]:
            print(json.dumps(bytecode(url)))
        case ["parts", url]:
            print(json.dumps(parts(url)))
        case ["blocks", url]:
            print(json.dumps(blocks(url)))
        case ["through", url, number]:
            through(url, int(number))
        case ["bare", url, number]:
            bare(url, int(number))
