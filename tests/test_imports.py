"""What ``import openai_stream`` brings, and what comes with its first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LATER = (
    "difflib",
    "html",
    "openai_stream.accumulate.choices",
    "openai_stream.accumulate.responses",
    "openai_stream.azure",
    "openai_stream.cli",
    "openai_stream.combining",
    "openai_stream.endpoints.any",
    "openai_stream.endpoints.chat_completions",
    "openai_stream.endpoints.completions",
    "openai_stream.endpoints.responses",
    "openai_stream.fallbacks",
    "openai_stream.local",
    "openai_stream.models.chat",
    "openai_stream.models.completions",
    "openai_stream.models.responses",
    "openai_stream.models.server_event",
    "openai_stream.observers.calls",
    "openai_stream.otel",
    "openai_stream.parts",
    "openai_stream.recordings",
    "openai_stream.redaction.answers",
    "openai_stream.signatures",
    "openai_stream.stream.crowd",
    "openai_stream.structured.growing",
    "openai_stream.structured.json_answer",
    "openai_stream.structured.schema",
    "openai_stream.testing",
    "openai_stream.web",
)


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    ).stdout


def test_what_few_programs_use_comes_with_its_first_use() -> None:
    loaded = _python("import sys, openai_stream; print(*sys.modules)").split()
    assert "openai_stream.client" in loaded
    assert not set(_LATER) & set(loaded)


#: Packages with names that come with their first use.
_PACKAGES = (
    "openai_stream",
    "openai_stream.accumulate",
    "openai_stream.endpoints",
    "openai_stream.models",
    "openai_stream.observers",
    "openai_stream.redaction",
    "openai_stream.structured",
)


@pytest.mark.parametrize("package", _PACKAGES)
def test_a_package_has_all_that_it_says(package: str) -> None:
    """In a process that has used nothing of it; also what type checkers are told, and ``dir``."""
    code = f"""
import ast, importlib, inspect
module = importlib.import_module({package!r})
assert "__getattr__" in vars(module)
shown = set(dir(module))
found = [name for name in module.__all__ if name not in vars(module)]
for name in module.__all__:
    getattr(module, name)
assert set(module.__all__) <= shown and set(found) <= set(vars(module))
(told,) = [
    node for node in ast.parse(inspect.getsource(module)).body
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
]
names = [alias.name for line in told.body for alias in line.names]
assert set(found) <= set(names) <= set(module.__all__), (names, found)
try:
    module.nothing
except AttributeError as error:
    print(error)
"""
    assert _python(code) == f"module '{package}' has no attribute 'nothing'\n"


@pytest.mark.parametrize(
    ("module", "name", "public"),
    [
        ("azure", "AzureClient", "openai_stream"),
        ("combining", "combine", "openai_stream"),
        ("fallbacks", "Fallback", "openai_stream"),
        ("models.chat", "ChatCompletion", "openai_stream"),
        ("models.chat", "Delta", "openai_stream.models"),
        ("models.completions", "Completion", "openai_stream"),
        ("models.completions", "CompletionChoice", "openai_stream.models"),
        ("models.responses", "Response", "openai_stream"),
        ("models.responses", "ResponseUsage", "openai_stream.models"),
        ("models.server_event", "ServerEvent", "openai_stream"),
        ("models.usage", "Usage", "openai_stream.models"),
    ],
)
def test_says_its_public_module_whichever_way_it_comes(module: str, name: str, public: str) -> None:
    code = f"""
from openai_stream.{module} import {name}
import pickle, {public}
assert {name!r} not in vars({public})  # nobody has asked for it there
print({name}.__module__, pickle.loads(pickle.dumps({name})) is {name} is {public}.{name})
"""
    assert _python(code) == f"{public} True\n"


def test_types_of_what_comes_late_are_found() -> None:
    code = """
import typing, openai_stream
for function in (openai_stream.retrieve_response, openai_stream.Client.cancel_response):
    assert typing.get_type_hints(function)["return"] is openai_stream.Response
"""
    assert _python(code) == ""


def test_many_threads_use_it_for_the_first_time() -> None:
    """Each of them waits for the one that imports, and none for another."""
    code = """
import faulthandler, threading
faulthandler.dump_traceback_later(60, exit=True)
from openai_stream import ChatCompletion, structured
answer = ChatCompletion.from_dict({"choices": [{"message": {"content": "[1]"}}]})
barrier = threading.Barrier(16)
def use(number):
    barrier.wait()
    if number % 2:
        found.append(answer.parsed(list))
    else:
        growing = structured.GrowingJSON()
        growing.feed("[1]")
        found.append(growing.value)
found = []
crowd = [threading.Thread(target=use, args=(number,)) for number in range(16)]
for thread in crowd: thread.start()
for thread in crowd: thread.join()
print(found == [[1]] * 16)
"""
    assert _python(code) == "True\n"


@pytest.mark.parametrize("readers", ["0", "1"])
def test_a_reader_thread_imports_nothing_of_ours(readers: str) -> None:
    """An import may fail while the interpreter shuts down."""
    program = Path(__file__).with_name("reader_imports.py")
    found = subprocess.run(
        [sys.executable, program, readers], check=True, capture_output=True, text=True, timeout=120
    )
    assert found.stdout == "\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_is_forked_in_the_middle_of_a_first_use() -> None:
    """Python renews no lock of a module: the child would wait for a thread that it has not."""
    code = """
import importlib.abc, os, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
import openai_stream

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "openai_stream.azure" and threading.current_thread() is thread:
            begun.set()
            forking.wait(0.5)  # it cannot be told that the fork waits: it is over first, or after

begun, forking = threading.Event(), threading.Event()
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=lambda: openai_stream.AzureClient)
thread.start()
begun.wait()
if pid := os.fork():
    forking.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
else:
    signal.alarm(20)
    os._exit(openai_stream.AzureClient.__module__ != "openai_stream")
"""
    assert _python(code) == "0\n"
