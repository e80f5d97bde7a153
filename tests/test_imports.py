"""What ``import openai_stream`` brings, and what comes with its first use."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import TAKE_ALL

import openai_stream

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


def test_a_first_call_without_a_file_descriptor_is_an_error_of_ours() -> None:
    code = f"""{TAKE_ALL}
from openai_stream import APIConnectionError, Client
client = Client("k", "http://127.0.0.1:9/v1", max_retries=0)
taken = take_all(16)
for _ in range(2):
    try:
        client.create_chat_completion(model="m", messages=[])
    except APIConnectionError as error:
        print("not imported" in str(error))
    os.close(taken.pop()), os.close(taken.pop()), os.close(taken.pop())
"""
    assert _python(code) == "True\nFalse\n"


def _late_names() -> dict[str, set[str]]:
    """Of each package those of its names that come with their first use."""
    code = f"""
import importlib
for package in {_PACKAGES!r}:
    module = importlib.import_module(package)
    print(package, *(name for name in module.__all__ if name not in vars(module)))
"""
    lines = [line.split() for line in _python(code).splitlines()]
    return {package: set(names) for package, *names in lines}


def test_no_module_asks_for_a_first_use_while_it_is_imported() -> None:
    """It would wait for who imports, who may wait for it: no order of the two locks holds then."""
    late = _late_names()
    assert "AzureClient" in late["openai_stream"]
    root = Path(openai_stream.__file__).parent
    programs = {"cli", "web", "otel", "testing", "recordings", "local"}
    found = []
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        # No module of the others imports one of these; the second is for type checkers.
        if parts[1] in programs or parts[1] == "signatures":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ImportFrom):
                continue
            package = node.module or ""
            if node.level:
                above = parts[: len(parts) - node.level]
                package = ".".join([*above, *filter(None, [node.module])])
            names = {alias.name for alias in node.names}
            found += [(path.name, name) for name in names & late.get(package, set())]
    assert found == []


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_and_a_first_use_that_wait_for_each_other_go_on() -> None:
    """As a handler that ``logging`` makes under its lock, which a fork takes too."""
    code = """
import faulthandler, os, threading, warnings
faulthandler.dump_traceback_later(60, exit=True)
warnings.simplefilter("ignore", DeprecationWarning)
others, forking, asked = threading.Lock(), threading.Event(), []
os.register_at_fork(
    before=lambda: (forking.set(), others.acquire()),
    after_in_parent=others.release,
    after_in_child=others.release,
)
import openai_stream
from openai_stream import first_use
first_use._PATIENCE = 0.5

def ask():
    with others:
        held.set()
        forking.wait()
        asked.append(openai_stream.AzureClient)

# The hooks before a fork are called in the opposite order: the one of the library comes first.
held = threading.Event()
thread = threading.Thread(target=ask)
thread.start()
held.wait()
if pid := os.fork():
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *asked)
else:
    os._exit(0)
"""
    assert _python(code) == "0 <class 'openai_stream.AzureClient'>\n"
