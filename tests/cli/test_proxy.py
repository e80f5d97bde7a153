"""``record --proxy`` and ``serve --proxy-on-miss``: the installed command, with other programs."""

from __future__ import annotations

import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner
from processes import COMMAND, PATIENCE
from streaming import wait_until

from openai_stream import (
    APIStatusError,
    Client,
    InternalServerError,
    RateLimitError,
    RecordingError,
    StreamInterruptedError,
)
from openai_stream.cli import program
from openai_stream.recordings import RecordedExchange, read_recording
from openai_stream.testing import (
    Fin,
    Hang,
    Pause,
    Reset,
    Script,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
    head,
    json_answer,
    refused_url,
)

RUN = Callable[..., "subprocess.CompletedProcess[str]"]
KEY = "sk-of-the-program-0123456789abcdef"
MESSAGES: Any = [{"role": "user", "content": "Why?"}]
WHOLE = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Blue"}}],
}  # fmt: skip


#: That of ``urlopen`` keeps the proxies which a process had at its first use, in another test.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Proxy:
    """The command while it runs; ``base_url`` is what programs are given."""

    def __init__(self, process: subprocess.Popen[str], said: str) -> None:
        self.process = process
        self.said = said
        self.base_url = next(
            word.rstrip(",") for word in said.split() if word.startswith("http://127")
        )

    def stop(self) -> tuple[str, str]:
        """Press Ctrl-C.

        :returns: the rest of what it says.
        """
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 130
        return said


START = Callable[..., Proxy]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[START]:
    with ExitStack() as stack:

        def start(*arguments: str, **env: str) -> Proxy:
            process = stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, *arguments],
                    cwd=tmp_path,
                    env={**environment, "OPENAI_API_KEY": "sk-of-the-command-0123456789", **env},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            out = process.stderr if arguments[0] == "record" else process.stdout
            assert out is not None
            return Proxy(process, out.readline())

        yield start


@pytest.fixture
def proxy(start: START) -> Proxy:
    return start("record", "--proxy", "0", "talk.rec")


@pytest.fixture
def recording(tmp_path: Path) -> Callable[[], list[RecordedExchange]]:
    return lambda: read_recording(tmp_path / "talk.rec")


def is_kept(recording: Callable[[], list[RecordedExchange]]) -> bool:
    """An exchange is in the recording, whole: a little after its last event."""
    try:
        return bool(recording())
    except (OSError, RecordingError):
        return False


def by_openai(base_url: str, **arguments: Any) -> str:
    """What OpenAI's own SDK reads."""
    with openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
        body: Any = {"model": "m", "messages": MESSAGES, "stream": True, **arguments}
        chunks = client.chat.completions.create(**body)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def by_ours(base_url: str, **arguments: Any) -> str:
    with Client(KEY, base_url, max_retries=0) as client:
        body: Any = {"model": "m", "messages": MESSAGES, "stream": True, **arguments}
        return "".join(client.create_chat_completion(**body).text())


PROGRAMS = [by_openai, by_ours]


def sent(script: Script) -> bytes:
    """What the server sends that plays it."""
    assert isinstance(script, list)
    return b"".join(step for step in script if isinstance(step, bytes))


# Recording -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", PROGRAMS)
def test_records_a_programs_stream(
    server: ScriptedServer,
    start: START,
    run: RUN,
    recording: Callable[[], list[RecordedExchange]],
    tmp_path: Path,
    ask: Callable[[str], str],
) -> None:
    """Byte for byte; it replays, and serves the program without the server."""
    script = answer(chat_chunks("Blue as the sea"), headers={"X-Echo": KEY, "X-Request-Id": "r1"})
    server.play(script)
    proxy = start("record", "--proxy", "0", "talk.rec")
    assert ask(proxy.base_url) == "Blue as the sea"
    out, err = proxy.stop()
    assert (out, err) == ("", "[1 answer in talk.rec]\n")
    assert proxy.said == f"{proxy.base_url} passes on to {server.base_url}\n"

    asked = server.requests[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.json["stream"] is True

    (exchange,) = recording()
    assert exchange.data == sent(script).replace(KEY.encode(), b"*" * len(KEY))
    assert exchange.end == "open"
    assert exchange.request.body == asked.body
    text = (tmp_path / "talk.rec").read_text()
    assert KEY not in text
    assert "sk-of-the-command" not in text

    assert run("replay", "talk.rec", "--speed", "0").stdout == "Blue as the sea\n"
    served = start("serve", "talk.rec", "--speed", "0")
    assert ask(served.base_url) == "Blue as the sea"
    assert len(server.requests) == 1


def test_passes_each_event_on_as_it_comes(server: ScriptedServer, proxy: Proxy) -> None:
    seen = threading.Event()
    first, *rest = chat_chunks(["Blue", " because"])[1:]
    server.play(answer([first, Wait(seen), *rest]))
    with Client(KEY, proxy.base_url) as client:
        texts = client.create_chat_completion(model="m", messages=MESSAGES, stream=True).text()
        assert next(texts) == "Blue"
        seen.set()
        assert list(texts) == [" because"]


def test_passes_on_answers_that_are_not_streamed(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    models = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1,
                                          "owned_by": "x"}]}  # fmt: skip
    server.play(json_answer(WHOLE), json_answer(models), json_answer(WHOLE))
    with openai.OpenAI(api_key=KEY, base_url=proxy.base_url, max_retries=0) as client:
        made = client.chat.completions.create(model="m", messages=MESSAGES)
        assert made.choices[0].message.content == "Blue"
        assert [one.id for one in client.models.list(extra_query={"a": "b c"})] == ["m"]
    with Client(KEY, proxy.base_url) as ours:
        whole = ours.create_chat_completion(model="m", messages=[])
        assert whole.choices[0].message.content == "Blue"
    assert [(one.method, one.target) for one in server.requests] == [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models?a=b+c"),
        ("POST", "/v1/chat/completions"),
    ]
    assert proxy.stop()[1] == "[3 answers in talk.rec]\n"
    assert [one.status for one in recording()] == [200, 200, 200]


def test_passes_errors_on_and_records_them(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    limit = error_answer(429, f"slow down, {KEY}", headers={"Retry-After": "7"})
    page = [head(503, {"Content-Type": "text/html", "Content-Length": "4"}) + b"<p/>"]
    moved = [head(307, {"Location": "/elsewhere", "Content-Length": "3"}) + b"---"]
    server.play(limit, limit, page, moved)
    with pytest.raises(openai.RateLimitError) as theirs:
        by_openai(proxy.base_url)
    assert theirs.value.response.headers["retry-after"] == "7"
    with pytest.raises(RateLimitError) as ours:
        by_ours(proxy.base_url)
    assert ours.value.retry_after == 7
    with pytest.raises(InternalServerError, match="503"):
        by_ours(proxy.base_url)
    url = urllib.request.Request(f"{proxy.base_url}/x", method="POST", data=b"{}")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        OPENER.open(url, timeout=PATIENCE)
    with caught.value as error:
        assert (error.code, error.headers["Location"]) == (307, "/elsewhere")
        assert error.read() == b"---"
    proxy.stop()
    exchanges = recording()
    assert [one.status for one in exchanges] == [429, 429, 503, 307]
    assert exchanges[0].data == sent(limit).replace(KEY.encode(), b"*" * len(KEY))


def test_passes_every_kind_of_message_on(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    """Without a body, with an interim answer, with trailers, with a large request; on one
    connection."""
    ok = head(200, {"Content-Length": "2"}) + b"ok"
    chunked = head(200, {"Transfer-Encoding": "chunked"}) + b"2\r\nok\r\n0\r\nX: y\r\n\r\n"
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    large = b"y" * 8_000_000
    asked = [
        ("HEAD", None, [head(200, {"Content-Length": "5"})], b""),
        ("GET", None, [head(204)], b""),
        ("GET", None, [head(304)], b""),
        ("POST", large, [ok], b"ok"),
        ("GET", None, [chunked], b"ok"),
        ("DELETE", None, [head(200, {"Content-Length": "0"})], b""),
    ]
    port = int(proxy.base_url.rpartition(":")[2].partition("/")[0])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        for method, body, script, got in asked:
            server.play(script)
            connection.request(method, "/v1/x", body)
            assert connection.getresponse().read() == got
        server.play([interim + ok])  # http.client would leave out what is interim
        connection.sock.sendall(b"GET /v1/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        with connection.sock.makefile("rb") as answered:
            assert answered.read() == interim + ok
    assert len(server.connections) == 1
    assert [len(one.body) for one in server.requests] == [0, 0, 0, len(large), 0, 0, 0]
    assert {one.headers["user-agent"].partition("/")[0] for one in server.requests} == {
        "openai-stream"
    }
    proxy.stop()
    assert [one.data for one in recording()] == [
        *(script[0] for _, _, script, _ in asked),
        interim + ok,
    ]
    assert recording()[-1].status == 200


@pytest.mark.parametrize(
    ("rest", "end"), [([Fin()], "eof"), ([Pause(0.1), Reset()], "reset")], ids=["cut", "reset"]
)
def test_an_answer_that_breaks_off_breaks_off_so(
    server: ScriptedServer,
    proxy: Proxy,
    recording: Callable[[], list[RecordedExchange]],
    rest: list[Any],
    end: str,
) -> None:
    server.always(answer([*chat_chunks("Blue as the sea")[:3], *rest]))
    with pytest.raises(StreamInterruptedError) as caught:
        by_ours(proxy.base_url)
    assert caught.value.snapshot.choices[0].message.content == "Blue as"
    with pytest.raises(Exception, match=r"peer|reset|closed|incomplete|Connection"):
        by_openai(proxy.base_url)
    proxy.stop()
    assert [one.end for one in recording()] == [end, end]


def test_keeps_a_body_that_the_connections_end_ends(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    script = answer(chat_chunks("Blue as"), framing="close")
    server.play(script)
    assert by_openai(proxy.base_url) == "Blue as"
    proxy.stop()
    assert recording()[0].data == sent(script)
    assert recording()[0].end == "eof"


def test_looks_into_nothing_that_is_compressed(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    """A server may compress though it was asked not to."""
    script = answer(chat_chunks("Blue as"), encoding="gzip")
    strange = [head(200, {"Content-Encoding": "x-own", "Content-Length": "3"}) + b"\x00\xff\x01"]
    server.play(script, strange)
    assert by_ours(proxy.base_url) == "Blue as"
    with OPENER.open(f"{proxy.base_url}/x", timeout=PATIENCE) as response:
        assert response.read() == b"\x00\xff\x01"
    proxy.stop()
    assert [one.data for one in recording()] == [sent(script), sent(strange)]


def test_records_several_programs_at_once(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    """Each waits until all have begun."""
    count = 8
    together = threading.Event()

    def echo(request: Any) -> Script:
        first, *rest = chat_chunks(request.json["messages"][0]["content"])
        return answer([first, Wait(together), *rest])

    server.always(echo)
    got: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def ask(number: int) -> None:
        said = [{"role": "user", "content": f"answer number {number}"}]
        got.put((number, PROGRAMS[number % 2](proxy.base_url, messages=said)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    server.wait_for_requests(count, PATIENCE)
    together.set()
    answers = dict(got.get(timeout=PATIENCE) for _ in threads)
    for thread in threads:
        thread.join()
    assert answers == {number: f"answer number {number}" for number in range(count)}
    assert proxy.stop()[1] == f"[{count} answers in talk.rec]\n"
    for exchange in recording():
        asked = exchange.request.json["messages"][0]["content"]
        assert exchange.data == sent(answer(asked))


def test_a_program_that_hangs_up_stops_the_server(server: ScriptedServer, proxy: Proxy) -> None:
    server.play(answer([*chat_chunks("Blue as")[:2], Hang()]))
    with Client(KEY, proxy.base_url) as client:
        events = client.create_chat_completion(model="m", messages=MESSAGES, stream=True)
        events.get(timeout=PATIENCE)
        events.close()
        assert server.connections[0].client_closed.wait(PATIENCE)
    assert proxy.stop()[1] == "[1 answer in talk.rec]\n"


@pytest.mark.parametrize("ask", PROGRAMS)
def test_is_whole_though_the_program_hangs_up_before_the_end_of_the_body(
    server: ScriptedServer,
    proxy: Proxy,
    recording: Callable[[], list[RecordedExchange]],
    ask: Callable[[str], str],
) -> None:
    """As this library does behind ``[DONE]``."""
    *script, last = answer(chat_chunks("Blue"))
    server.play([*script, Pause(0.08), last])
    assert ask(proxy.base_url) == "Blue"
    proxy.stop()
    assert recording()[0].data == sent([*script, last])
    assert recording()[0].end == "open"


def test_ctrl_c_in_the_middle_of_an_answer(
    server: ScriptedServer, proxy: Proxy, recording: Callable[[], list[RecordedExchange]]
) -> None:
    server.play(answer([*chat_chunks("Blue as")[:2], Hang()]))
    with Client(KEY, proxy.base_url, max_retries=0) as client:
        events = client.create_chat_completion(model="m", messages=MESSAGES, stream=True)
        assert next(events.text()) == "Blue"
        out, err = proxy.stop()
        assert (out, err) == ("", "[1 answer in talk.rec]\n")
        with pytest.raises(StreamInterruptedError):
            list(events)
    assert b"Blue" in recording()[0].data
    assert recording()[0].end == "closed"


def test_a_server_that_is_not_there(start: START, tmp_path: Path) -> None:
    (tmp_path / "talk.rec").write_text("an old one")
    with refused_url() as url:
        proxy = start("record", "--proxy", "0", "--base-url", url, "talk.rec")
        with pytest.raises(APIStatusError, match=r"gave no answer: .*refused") as caught:
            by_ours(proxy.base_url)
        assert caught.value.status_code == 502
        assert caught.value.code == "no_answer"
        with pytest.raises(openai.InternalServerError, match="refused"):
            by_openai(proxy.base_url)
    assert proxy.stop()[1] == "[0 answers in talk.rec]\n"
    assert (tmp_path / "talk.rec").read_text() == "an old one"  # until there is another


def test_keeps_the_path_and_the_query_of_the_server(server: ScriptedServer, start: START) -> None:
    server.always(answer(chat_chunks("Blue")))
    base = server.base_url.removesuffix("/v1")
    proxy = start("record", "--proxy", "0", "--base-url", f"{base}/api/v7/?a=b", "talk.rec")
    assert by_ours(proxy.base_url) == "Blue"
    assert by_openai(proxy.base_url.removesuffix("/v1"), extra_query={"c": "d"}) == "Blue"
    assert [one.target for one in server.requests] == [
        "/api/v7/chat/completions?a=b",
        "/api/v7/chat/completions?a=b&c=d",
    ]


def test_the_recording_may_go_to_standard_output(server: ScriptedServer, start: START) -> None:
    server.play(answer(chat_chunks("Blue")))
    proxy = start("record", "--proxy", "0", "-")
    assert by_ours(proxy.base_url) == "Blue"
    out, _ = proxy.stop()
    assert json.loads(out.splitlines()[0])["openai_stream_recording"] == 1
    assert "Blue" in out


def test_a_program_that_sends_garbage_ends_nothing(server: ScriptedServer, proxy: Proxy) -> None:
    server.play(answer(chat_chunks("Blue")))
    port = int(proxy.base_url.rpartition(":")[2].partition("/")[0])
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        client.sendall(b"garbage\r\n\r\n")
        assert client.recv(1) == b""
    assert by_ours(proxy.base_url) == "Blue"
    assert proxy.stop() == ("", "[1 answer in talk.rec]\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "--proxy", "0", "talk.rec", "chat", "Why?"], "goes with no COMMAND"),
        (["record", "talk.rec", "--proxy", "0"], "stands before FILE"),
        (["record", "talk.rec", "--proxy=0"], "stands before FILE"),
        (["record", "--base-url", "http://x/v1", "talk.rec", "chat", "hi"], "goes with --proxy"),
        (["record", "talk.rec"], "--proxy"),
        (["record", "--proxy", "70000", "talk.rec"], "70000"),
        (["record", "--proxy", "0", "--base-url", "ftp://x", "talk.rec"], "ftp"),
        (["serve", "talk.rec", "--base-url", "http://x/v1"], "--proxy-on-miss"),
        (["serve", "talk.rec", "--match", "turn", "--proxy-on-miss"], "--proxy-on-miss"),
        (["serve", "talk.rec"], "does not exist"),
        (["serve", "talk.rec", "more.rec", "--proxy-on-miss"], "does not exist"),
    ],
)
def test_refuses_what_does_not_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "talk.rec").exists()


def test_refuses_to_pass_on_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{host}:{port}/v1")
        result = CliRunner().invoke(program, ["record", "--proxy", str(port), "talk.rec"])
        assert result.exit_code == 2
        assert "is this server itself" in " ".join(result.stderr.split())
        assert not (tmp_path / "talk.rec").exists()


def test_a_port_that_is_taken(run: RUN, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("record", "--proxy", str(taken.getsockname()[1]), "talk.rec")
    assert result.returncode == 1
    assert "in use" in result.stderr
    assert not (tmp_path / "talk.rec").exists()


# Serving what was recorded, and asking for the rest -------------------------------------------


def question(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("ask", PROGRAMS)
def test_asks_for_what_is_not_recorded_once(
    server: ScriptedServer,
    start: START,
    recording: Callable[[], list[RecordedExchange]],
    ask: Callable[..., str],
) -> None:
    """The file begins empty, grows, and serves the next run."""
    server.play(answer(chat_chunks("One")), answer(chat_chunks("Two")), answer(chat_chunks("Six")))
    served = start("serve", "talk.rec", "--proxy-on-miss", "--speed", "0")
    assert served.said == f"0 answers at {served.base_url}, others from {server.base_url}\n"
    for _ in range(2):
        assert ask(served.base_url, messages=question("1")) == "One"
        assert ask(served.base_url, messages=question("2")) == "Two"
    served.stop()
    assert len(server.requests) == 2
    assert [one.end for one in recording()] == ["open", "open"]

    again = start("serve", "talk.rec", "--proxy-on-miss", "--speed", "0")
    assert again.said.startswith("2 answers at ")
    assert ask(again.base_url, messages=question("2")) == "Two"
    assert ask(again.base_url, messages=question("3")) == "Six"
    again.stop()
    assert len(server.requests) == 3
    exchanges = recording()
    assert len(exchanges) == 3
    assert [one.request.json["messages"][0]["content"] for one in exchanges] == ["1", "2", "3"]
    assert exchanges[2].data == sent(answer("Six"))


def test_adds_no_answer_that_is_not_good(
    server: ScriptedServer, start: START, recording: Callable[[], list[RecordedExchange]]
) -> None:
    server.play(
        error_answer(429, "slow down"),
        answer([*chat_chunks("Half of it")[:2], Fin()]),
        answer(chat_chunks("Blue")),
    )
    served = start("serve", "talk.rec", "--proxy-on-miss", "--speed", "0")
    with pytest.raises(RateLimitError):
        by_ours(served.base_url)
    with pytest.raises(StreamInterruptedError):
        by_ours(served.base_url)
    assert by_ours(served.base_url) == "Blue"
    wait_until(lambda: is_kept(recording))
    assert by_ours(served.base_url) == "Blue"
    served.stop()
    (exchange,) = recording()
    assert exchange.data == sent(answer("Blue"))


def test_adds_to_the_last_of_its_files(
    server: ScriptedServer, start: START, tmp_path: Path
) -> None:
    server.always(lambda request: answer(request.json["messages"][0]["content"]))
    for name in ("first.rec", "second.rec"):
        proxy = start("record", "--proxy", "0", name)
        assert by_ours(proxy.base_url, messages=question(name)) == name
        proxy.stop()
    # A program that was killed left half a line.
    with open(tmp_path / "second.rec", "a") as file:
        file.write('{"exchange": 1, "at": 0.5, "te')
    before = (tmp_path / "first.rec").read_bytes()
    asked = len(server.requests)
    served = start("serve", "first.rec", "second.rec", "--proxy-on-miss", "--speed", "0")
    for text in ("first.rec", "second.rec", "new", "new"):
        assert (
            by_openai(served.base_url, messages=question(text)) == text
            if text == "new"
            else (by_ours(served.base_url, messages=question(text)) == text)
        )
    served.stop()
    assert len(server.requests) == asked + 1
    assert (tmp_path / "first.rec").read_bytes() == before
    assert [one.status for one in read_recording(tmp_path / "second.rec")] == [200, 200]


def test_leaves_alone_what_is_no_recording(run: RUN, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine\n")
    result = run("serve", "notes.txt", "--proxy-on-miss")
    assert result.returncode == 1
    assert "this is not a recording" in result.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_two_do_not_add_to_one_file(start: START, run: RUN) -> None:
    start("serve", "talk.rec", "--proxy-on-miss")
    result = run("serve", "talk.rec", "--proxy-on-miss")
    assert result.returncode == 1
    assert "another recorder writes to it" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_keeps_no_answer_in_memory(server: ScriptedServer, proxy: Proxy) -> None:
    """A program that does not read holds the server back."""
    flood: list[Any] = [
        head(200, {"Content-Length": str(1 << 30)}),
        *[b"x" * (1 << 20)] * 200,
        Hang(),
    ]
    server.play(flood)
    port = int(proxy.base_url.rpartition(":")[2].partition("/")[0])
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        client.sendall(b"GET /v1/x HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(1) == b"H"
        assert server.connections[0].wait_until_blocked(0.5, PATIENCE)
        assert server.connections[0].sent < 100 << 20
    assert server.connections[0].client_closed.wait(PATIENCE)
