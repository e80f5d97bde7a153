"""What is said of a wrong command line, and that it is said in the words of the command line."""

# ruff: noqa: RUF001 - other scripts are meant

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from batches import echo, write
from processes import COMMAND, PATIENCE, Terminal

import openai_stream
from openai_stream.cli.characters import harmless
from openai_stream.cli.options import as_options
from openai_stream.testing import ScriptedServer, answer, chat_chunks, error_answer

PACKAGE = Path(openai_stream.__file__).parent

# Messages of the library's ----------------------------------------------------------------------

#: Arguments that a message may name; of words that are also plain English, only with what follows.
_NAMES = re.compile(
    r"\b(?:api_key|base_url|azure_ad_token|api_version|max_retries|max_event_bytes|model_path"
    r"|start_timeout|n_parallel|extra_(?:body|headers|query)|on_(?:next|done|error)|stream_close"
    r"|nowait|response_format|text_format)\b"
    r"|\b(?:stream|session|headers|timeout|restarts|endpoint|queue|tag|replay|client)="
    r"|^(?:timeout|restarts|endpoint|organization|project|model|session|headers|queue|tag)\b"
)
#: Those that the command cannot cause, by what it never does.
_NOT_ITS_DOING = {
    "it takes no arguments of calls but its own": (
        "goes with stream=True only",
        "stream must be True or False",
        "restarts must not be negative",
        "queue must have a put",
        "do not go together",
        "is for the queue that is made",
        "tag goes with queue only",
        "replay keeps all events",
        "goes into extra_body",
        "there is no argument",
        "takes no argument",
        "extra_body cannot be added",
        "extra_query: a URL",
        "coroutine",
        "an asynchronous",
        "must be an int of at least",
    ),
    "it gives a client a key that is a string, and no session": (
        "the function given as",
        "must be a string or a function",
        "must be a session",
        "leave session=",
        "session's",
    ),
    "it always streams": ("call with stream=True",),
    "it has no subscribers and reads each queue once": ("with replay=True",),
    "it patches nothing": ("gevent has patched",),
    "it asks for no classes": ("text_format and the format", "response_format", "text_format"),
    "it starts a local server with numbers of its own": ("must be a {kind}",),
}


def messages() -> Iterator[tuple[str, str]]:
    """Every text in the package that is an argument of an exception's and names an argument."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "testing"):
            continue
        for raised in ast.walk(ast.parse(path.read_text())):
            if not isinstance(raised, ast.Call):
                continue
            name = ast.unparse(raised.func)
            if not re.search(r"(Error|_error|Cause|expiry)$|^(Error|StreamError)", name):
                continue
            for node in raised.args:
                text = _text(node)
                if text is not None and _NAMES.search(text):
                    yield str(path.relative_to(PACKAGE)), text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp):
        return (_text(node.left) or "") + (_text(node.right) or "")
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, (ast.Constant, ast.FormattedValue))
        )
    return None


MESSAGES = sorted(set(messages()))


def test_finds_the_messages() -> None:
    assert len(MESSAGES) > 20
    assert any("pass api_key=" in text for _, text in MESSAGES)


@pytest.mark.parametrize(("path", "text"), MESSAGES)
def test_no_message_names_an_argument(path: str, text: str) -> None:
    """Each is put into the words of the command line, or is none that the command can cause."""
    if any(part in text for parts in _NOT_ITS_DOING.values() for part in parts):
        return
    said = as_options(text, "--restarts 1")
    assert not _NAMES.search(said), f"{path}: {said}"


def test_the_list_of_other_messages_is_no_longer_than_it_must_be() -> None:
    everything = " ".join(text for _, text in MESSAGES)
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for parts in _NOT_ITS_DOING.values():
        for part in parts:
            assert part in everything or part in source, part


def test_a_refused_key_names_the_environment(server: ScriptedServer, run: Any) -> None:
    server.always(error_answer(401, "who are you?"))
    result = run("chat", "hi", OPENAI_API_KEY="")
    assert result.returncode == 1
    assert "set OPENAI_API_KEY" in result.stderr
    assert "api_key" not in result.stderr


# Options ----------------------------------------------------------------------------------------


def test_one_meaning_of_an_option(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """``-p`` is a field of the request everywhere; ``-o`` still is, where it was."""
    server.always(echo)
    write(tmp_path / "prompts.jsonl", ["a"])
    assert run("chat", "-p", "temperature", "1", "--option", "top_p", "1", "hi").returncode == 0
    assert run("batch", "prompts.jsonl", "-o", "out", "-p", "temperature", "1").returncode == 0
    old = run("chat", "-o", "temperature", "1", "-o", "seed", "2", "hi")
    assert (old.returncode, old.stderr) == (0, "")
    first, second, third = (request.json for request in server.requests)
    assert (first["temperature"], first["top_p"]) == (1, 1)
    assert second["temperature"] == 1
    assert (third["temperature"], third["seed"]) == (1, 2)
    assert not re.search(r"(?<!-)-o\b", run("chat", "--help").stdout)


@pytest.mark.parametrize("value", ["NaN", '{"7": -Infinity}', "1e999"])
def test_what_is_no_number_of_json(server: ScriptedServer, run: Any, value: str) -> None:
    server.always(echo)
    result = run("chat", "-p", "top_p", value, "hi")
    assert result.returncode == 0
    assert f"{value} is sent as text" in result.stderr
    assert server.requests[0].json["top_p"] == value


def test_the_old_option_is_remarked_on_a_terminal(
    server: ScriptedServer, terminal: Callable[..., Terminal]
) -> None:
    server.always(echo)
    shown = terminal("chat", "-o", "seed", "2", "hi", width=120)
    shown.expect("say --option")
    assert shown.end() == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:99999/v1", "the port is not a number from 1 to 65535: '99999'"),
        ("http://127.0.0.1:abc/v1", "the port is not a number from 1 to 65535: 'abc'"),
        ("http://[::1]:0/v1", "the port is not a number from 1 to 65535: '0'"),
        ("localhost:8080/v1", "is it 'http://localhost:8080/v1'?"),
        ("192.168.0.7:8080", "is it 'http://192.168.0.7:8080'?"),
        ("ftp://localhost/v1", "the scheme is 'ftp', and not http or https"),
        ("", "--base-url"),
        ("http:///v1", "--base-url"),
    ],
)
def test_addresses(run: Any, url: str, said: str) -> None:
    result = run("chat", "--base-url", url, "hi")
    assert result.returncode == 2
    assert said in result.stderr
    assert "base_url" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chat", "--timeout", "nan", "hi"), "nan is not a number"),
        (("chat", "--timeout", "inf", "hi"), "inf is not a number"),
        (("replay", "--speed", "nan", "/dev/null"), "nan is not a number"),
        (("batch", "/dev/null", "-o", "-", "--rpm", "nan"), "nan is not a number"),
        (("batch", "/dev/null", "-o", "/nonexistent/x"), "/nonexistent/x: No such file"),
        (("batch", "/nonexistent/x", "-o", "y"), "'/nonexistent/x' does not exist"),
        (("record", "/nonexistent/x", "chat", "hi"), "/nonexistent/x: No such file"),
        (("replay", "/nonexistent/x"), "'/nonexistent/x' does not exist"),
        (("replay", "-"), "standard input: the file is empty"),
        (("chat", b"a\xffb"), "the prompt is not UTF-8: there is the byte 0xff in it"),
        (("chat", "-s", b"\xff", "hi"), "--system is not UTF-8"),
        (("chat", "-m", b"\xff", "hi"), "--model is not UTF-8"),
        (("chat", "-p", "user", b"\xff", "hi"), "--option user is not UTF-8"),
    ],
)
def test_is_said_in_a_line(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[Any, ...], said: str
) -> None:
    result = subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode in (1, 2)
    last = result.stderr.decode().splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert b"Traceback" not in result.stderr
    assert "Errno" not in last


def test_input_that_is_binary(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """Null bytes are not text; some other encoding may be."""
    server.always(echo)

    def run(*arguments: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=given,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    for command in (("chat",), ("batch", "-", "-o", "out")):
        refused = run(*command, given=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n")
        assert refused.returncode in (2, 4), refused.stderr
        assert b"Traceback" not in refused.stderr
    assert b"null bytes" in run("chat", given=b"a\0b").stderr
    latin = run("chat", given="Grüße".encode("latin-1"))
    assert latin.returncode == 0
    assert server.requests[-1].json["messages"][0]["content"] == "Gr\ufffd\ufffde"


def test_replays_standard_input(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(answer(chat_chunks("Hello")))
    assert run("record", "talk.rec", "chat", "hi").returncode == 0
    recording = (tmp_path / "talk.rec").read_text()
    result = run("replay", "-", "--speed", "0", stdin=recording)
    assert (result.returncode, result.stdout) == (0, "Hello\n")


def test_a_port_that_is_taken(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(answer(chat_chunks("Hello")))
    assert run("record", "talk.rec", "chat", "hi").returncode == 0
    port = server.base_url.rpartition(":")[2].removesuffix("/v1")
    result = run("serve", "talk.rec", "--port", port)
    assert result.returncode == 1
    assert f"--port {port}: " in result.stderr
    assert "in use" in result.stderr


# What a terminal is shown -----------------------------------------------------------------------

#: Reordered, tagged, or not to be seen at all.
UNSEEN = "\u202e\u202d\u202a\u2066\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\U000e0041\u3164\u2028"


def test_nothing_unseen_reaches_a_terminal(
    server: ScriptedServer, terminal: Callable[..., Terminal]
) -> None:
    server.always(
        answer(chat_chunks([f"rm{one}x" for one in UNSEEN] + ["👩\u200d🚀 می\u200cخواهم"]))
    )
    shown = terminal("chat", "hi")
    assert shown.end() == 0
    assert not set(UNSEEN) & set(shown.shown)
    assert "rm�x" in shown.shown
    assert "👩\u200d🚀 می\u200cخواهم" in shown.shown


def test_a_pipe_gets_what_was_said(server: ScriptedServer, run: Any) -> None:
    """As text; in lines of JSON it is escaped, which is the same."""
    server.always(answer(chat_chunks([UNSEEN])))
    assert run("chat", "hi").stdout == f"{UNSEEN}\n"
    lines = run("chat", "--json", "hi").stdout
    assert not (set(UNSEEN) - {"\u200c"}) & set(lines)
    assert r"\u202e" in lines
    assert r"\udb40\udc41" in lines


@pytest.mark.parametrize("text", ["", "plain", "שלום", "مرحبا", "日本語", "naïve ✓", "a\nb\tc"])
def test_text_is_left_alone(text: str) -> None:
    assert harmless(text) == text


# Ctrl-C -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [0.06, 0.1, 0.15, 0.25, 0.4])
def test_ctrl_c_while_it_starts(environment: dict[str, str], tmp_path: Path, wait: float) -> None:
    """The installed command says nothing, whatever it was about to import."""
    script = (
        "import sys; print('.', flush=True); from _openai_stream_command import main; "
        "sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, "chat", "--base-url", "http://127.0.0.1:9/v1", "hi"],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # what comes before is the interpreter's
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(PATIENCE)
    if b"Traceback" in said and b"/openai_stream/" not in said:
        pytest.skip("on a machine as busy as this one it had not begun")
    assert b"Traceback" not in said, said
    assert process.returncode in (130, -signal.SIGINT, 1)
