"""Subinterpreters, in which there are no daemon threads, or no threads at all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import openai_stream
from openai_stream.testing import Hang, Pause, ScriptedServer, answer, chat_chunks

WHOLE = chat_chunks("one two three")
THREADS = sys.version_info >= (3, 13)  # until 3.12 isolated interpreters had none
# A mypyc-compiled package of requests' does not load there, and it says so.
SCRIPT = """\
import sys
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters
code = f'''
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:] = {sys.path!r}
from openai_stream import *
client = Client(api_key="k", base_url={sys.argv[1]!r}, max_retries=0)

def chat(**arguments):
    return client.create_chat_completion(model="any", messages=[], stream=True, **arguments)

def say(whole):
    print(whole.choices[0].message.content, flush=True)

try:
    print("".join(chat().text()), flush=True)
    calls = []
    say(chat(on_next=calls.append).result(10))
    unread = chat()
    chat(on_next=calls.append, on_done=say)
except OpenAIStreamError as error:
    print(error, flush=True)
'''
inner = _interpreters.create()
failure = getattr(_interpreters, "exec", _interpreters.run_string)(inner, code)
_interpreters.destroy(inner)
print("the end" if failure is None else failure, flush=True)
"""


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ["_interpreters", "_xxsubinterpreters"])),
    reason="needs subinterpreters",
)
@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="may crash at its end after threads in a subinterpreter"
)
def test_in_a_subinterpreter(server: ScriptedServer, tmp_path: Path) -> None:
    """Streams work; at its end callbacks are waited for, and a queue that is not read is closed.
    Without threads it is an error before anything is sent.
    """
    server.play(
        answer(WHOLE),
        answer(WHOLE),
        answer([WHOLE[0], Hang()]),
        answer([WHOLE[0], Pause(0.3), *WHOLE[1:]]),
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, server.base_url],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])},
        check=False,
    )
    said = run.stdout.splitlines()
    assert (run.returncode, said[-1:]) == (0, ["the end"]), run.stdout + run.stderr
    if THREADS:
        assert said[:-1] == ["one two three"] * 3, run.stderr
        assert server.connections[-1].client_closed.wait(10)
    else:
        assert said[0].startswith("cannot start a reader thread"), said
        assert server.requests == []
