"""What ``import openai_stream`` brings, and what comes with its first use."""

from __future__ import annotations

import subprocess
import sys

_LATER = (
    "difflib",
    "html",
    "openai_stream.cli",
    "openai_stream.local",
    "openai_stream.otel",
    "openai_stream.parts",
    "openai_stream.recordings",
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


def test_a_room_that_comes_late_has_all_that_it_says() -> None:
    code = """
from openai_stream import structured
print(*(getattr(structured, name).__name__ for name in structured.__all__ if name != "NOTHING"))
try:
    structured.nothing
except AttributeError as error:
    print(error)
"""
    names, error = _python(code).splitlines()
    assert names == (
        "GrowingJSON JSONAnswer check_class convert element_class schema_name strict_schema "
        "take_class"
    )
    assert error == "module 'openai_stream.structured' has no attribute 'nothing'"


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
