"""The server of the tests while its process may open no more files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONNECTS_WITHOUT_A_DESCRIPTOR = """
import contextlib, os, resource, socket
from openai_stream.testing import ScriptedServer, json_answer

with ScriptedServer() as server, socket.socket() as client:
    server.play(json_answer({"late": True}))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    client.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        print("answered at once", client.recv(1000))
    for descriptor in taken:
        os.close(descriptor)
    client.settimeout(20)
    print(client.recv(1000).splitlines()[0].decode())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the limits of Linux")
def test_takes_a_client_once_there_is_a_descriptor() -> None:
    told = subprocess.run(
        [sys.executable, "-c", CONNECTS_WITHOUT_A_DESCRIPTOR],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (told.stdout, told.stderr) == ("HTTP/1.1 200 OK\n", "")
