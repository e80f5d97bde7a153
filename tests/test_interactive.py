"""A real Jupyter kernel, whose user interrupts a cell."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import openai_stream
from openai_stream.testing import Hang, ScriptedServer, answer, chat_chunks

SOON = 10.0  # seconds; what is waited for happens at once
WHOLE = chat_chunks("one two three")

# In a process of its own: what is asked of the kernel, line by line, and what it said.
DRIVER = """\
import sys, warnings
warnings.simplefilter("ignore")
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="python3")  # this Python's
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=60)

def run(code):
    said = []
    reply = client.execute_interactive(
        code, timeout=60, output_hook=lambda message: said.append(message["content"].get("text"))
    )
    return reply["content"]["status"], reply["content"].get("ename"), "".join(filter(None, said))

try:
    print(run(f'''
from openai_stream import *
import threading
chat = Client(api_key="test", base_url={sys.argv[1]!r}, max_retries=0).create_chat_completion
arguments = dict(model="any", messages=[], stream=True)
'''), flush=True)
    for cell in sys.argv[2:]:
        # Else the kernel turns away what comes in the moment after a cell that failed.
        message = client.execute(cell, stop_on_error=False)
        sys.stdin.readline()  # the server has the request
        manager.interrupt_kernel()
        while True:
            reply = client.get_shell_msg(timeout=60)
            if reply["parent_header"]["msg_id"] == message:
                break
        print(reply["content"]["status"], reply["content"].get("ename"), flush=True)
        sys.stdin.readline()  # the server has seen the end
    print(run("print([one.name for one in threading.enumerate() if 'openai' in one.name])"))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


@pytest.mark.limit(120)
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ["jupyter_client", "ipykernel"])),
    reason="needs jupyter_client and ipykernel",
)
def test_an_interrupt_ends_the_stream(server: ScriptedServer, tmp_path: Path) -> None:
    cells = [
        "for event in chat(**arguments): pass",
        "print(*chat(**arguments).text())",
        "chat(**arguments).stream.result()",
        "event = chat(**arguments).get(); event = chat(**arguments).get(timeout=60)",
    ]
    server.play(
        *[answer([WHOLE[0], Hang()])] * 3,
        answer([WHOLE[0], Hang()]),
        answer([Hang()]),
    )
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, server.base_url, *cells],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(openai_stream.__file__).parents[1]),
            "IPYTHONDIR": str(tmp_path),
            "JUPYTER_RUNTIME_DIR": str(tmp_path),
        },
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None

        def say() -> None:
            assert driver.stdin is not None
            driver.stdin.write("\n")
            driver.stdin.flush()

        try:
            assert driver.stdout.readline() == "('ok', None, '')\n"
            for number, requests in enumerate([1, 2, 3, 5]):
                server.wait_for_requests(requests)
                threading.Event().wait(0.3)  # the cell has come to its wait
                say()
                assert driver.stdout.readline() == "error KeyboardInterrupt\n"
                for connection in server.connections[: number + 1]:
                    assert connection.client_closed.wait(SOON)
                say()
            said, complaints = driver.communicate(timeout=60)
            assert said == "('ok', None, '[]\\n')\n", complaints
        finally:
            driver.kill()
