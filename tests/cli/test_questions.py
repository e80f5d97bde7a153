"""``chat``, ``complete``, ``respond`` through pipes: what is sent, what comes out, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from processes import COMMAND, PATIENCE

from openai_stream.cli import program
from openai_stream.testing import (
    Hang,
    Pause,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    completion_chunks,
    error_answer,
    refused_url,
    tool_call_chunks,
)

RUN = Callable[..., "subprocess.CompletedProcess[str]"]


def response(text: str, status: str = "completed", **fields: Any) -> list[dict[str, Any]]:
    """The events of a response."""
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    whole = {"status": status, "output": output, "usage": usage, **fields}
    return [
        {"type": "response.reasoning_summary_text.delta", "delta": "Hm."},
        {"type": "response.output_text.delta", "delta": text},
        {"type": f"response.{status}", "response": whole},
    ]


@pytest.fixture
def invoke(environment: dict[str, str]) -> Callable[..., Result]:
    """Run the command in this process."""

    def invoke(*arguments: str, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(program, arguments, input=stdin)

    return invoke


INVOKE = Callable[..., Result]


def asked(server: ScriptedServer) -> Any:
    """The body of the last request."""
    return server.requests[-1].json


# What is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "stdin", "prompt"),
    [
        (["Why", "is", "it?"], "", "Why is it?"),
        ([], "Why?\n", "Why?"),
        (["Summarize:"], "One.\nTwo.\n", "Summarize:\n\nOne.\nTwo."),
        (["Why?"], " \n", "Why?"),
        (["Why?"], b"caf\xc3\xa9 \xff", "Why?\n\ncafé \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_prompts(
    server: ScriptedServer, invoke: INVOKE, arguments: list[str], stdin: str, prompt: str
) -> None:
    server.play(answer(chat_chunks("Because")))
    result = invoke("chat", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Because\n", "")
    assert asked(server) == {
        "model": "gpt-6-luna",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
    }


def test_no_prompt(invoke: INVOKE) -> None:
    result = invoke("chat")
    assert result.exit_code == 2
    assert "no prompt" in result.stderr


def test_options(server: ScriptedServer, invoke: INVOKE) -> None:
    """JSON where it parses, a string otherwise; names that the library's calls have too."""
    server.play(answer(chat_chunks("Because")))
    pairs = {
        "temperature": "0",
        "stop": '["."]',
        "user": "me",
        "top_p": "NaN",
        "seed": "null",
        "queue": "1",
        "metadata": '{"a": true}',
        "verbosity": '"low"',
    }
    options = [word for key, value in pairs.items() for word in ("-o", key, value)]
    result = invoke("chat", "-m", "big", "--system", "Be brief.", *options, "Why?")
    assert result.exit_code == 0
    assert asked(server) == {
        "model": "big",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why?"},
        ],
        "stream": True,
        "temperature": 0,
        "stop": ["."],
        "user": "me",
        "top_p": "NaN",
        "seed": None,
        "queue": 1,
        "metadata": {"a": True},
        "verbosity": "low",
    }


def test_the_stream_is_not_to_be_switched_off(invoke: INVOKE) -> None:
    result = invoke("chat", "-o", "stream", "false", "Why?")
    assert result.exit_code == 2
    assert "always streamed" in result.stderr


@pytest.mark.parametrize("variable", ["OPENAI_STREAM_MODEL", "OPENAI_MODEL"])
def test_the_model_of_the_environment(
    server: ScriptedServer, invoke: INVOKE, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "another")
    monkeypatch.setenv(variable, "mine")
    server.play(answer(completion_chunks(" upon a time")))
    result = invoke("complete", "Once")
    assert result.stdout == " upon a time\n"
    assert asked(server) == {"model": "mine", "prompt": "Once", "stream": True}


@pytest.mark.parametrize("base_url", [None, "", " ", "https://api.openai.com/v1"])
def test_complete_needs_a_model_where_openai_has_none(
    server: ScriptedServer, invoke: INVOKE, monkeypatch: pytest.MonkeyPatch, base_url: str | None
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    if base_url is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_STREAM_MODEL", " ")
    result = invoke("complete", "Once")
    assert result.exit_code == 2
    assert "--model" in result.stderr
    assert "retired its last model" in result.stderr
    assert not server.requests


def test_complete_asks_other_servers_without_a_model(
    server: ScriptedServer, invoke: INVOKE
) -> None:
    server.play(answer(completion_chunks(" upon a time")))
    assert invoke("complete", "Once").stdout == " upon a time\n"


def test_respond(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer(response("Because"), done=False))
    result = invoke("respond", "--system", "Be brief.", "Why?")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Because\n", "Hm.\n")
    assert server.requests[-1].path == "/v1/responses"
    assert asked(server) == {
        "model": "gpt-6-luna",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Why?"}],
        "stream": True,
    }


def test_azure(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer(chat_chunks("Because")))
    result = invoke("chat", "--azure", "-m", "my-gpt", "Why?")
    assert result.exit_code == 0
    assert server.requests[-1].path == "/openai/deployments/my-gpt/chat/completions"
    assert server.requests[-1].headers["api-key"] == "azure-of-the-tests"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chat", "--azure", "Why?"], "--azure needs --model"),
        (["respond", "--azure", "-m", "x", "Why?"], "does not go with the Responses API"),
        (["chat", "--local", "--azure", "Why?"], "--local goes with neither"),
        (["chat", "--base-url", "nowhere", "Why?"], "--base-url (or OPENAI_BASE_URL)"),
        (["chat", "--timeout", "0", "Why?"], "timeout"),
        (["chat", "--no-such-option"], "no-such-option"),
    ],
)
def test_wrong_use(invoke: INVOKE, arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_no_key(invoke: INVOKE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    result = invoke("chat", "Why?")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no API key: set the environment variable")
    assert result.stderr.count("\n") == 1


def test_base_url_and_timeout(server: ScriptedServer, invoke: INVOKE) -> None:
    with ScriptedServer() as other:
        other.play(answer([*chat_chunks("Be cause")[:2], Hang()]))
        result = invoke("chat", "--base-url", other.base_url, "--timeout", "0.2", "Why?")
    assert result.exit_code == 3
    assert result.stdout == "Be\n"
    assert "no progress for 0.2 s" in result.stderr
    assert server.requests == []


# What comes out ------------------------------------------------------------------------------


def test_json_is_lossless(server: ScriptedServer, invoke: INVOKE) -> None:
    chunks = chat_chunks(["B\u00e9", "\ud83d", "\u2028\x9b"], usage=True)
    chunks[1]["unknown"] = {"a": [None, 1.5]}
    server.play(answer([json.dumps(chunk) for chunk in chunks]))
    result = invoke("chat", "--json", "Why?")
    lines = result.stdout_bytes.removesuffix(b"\n").split(b"\n")
    assert [json.loads(line) for line in lines] == chunks
    assert "B\u00e9".encode() in lines[1]


def test_json_tells_of_restarts(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Reset()]), answer(chat_chunks("Three")))
    result = invoke("chat", "--json", "--restarts", "1", "Why?")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(event) for event in events].index({"restarted", "error"}) == 2
    assert events[2]["restarted"] == 1


def test_a_pipe_gets_no_void_text(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Reset()]), answer(chat_chunks("Three")))
    result = invoke("chat", "--restarts", "1", "Why?")
    assert (result.exit_code, result.stdout) == (0, "Three\n")


def test_a_pipe_gets_what_came_of_an_answer_that_broke_off(
    server: ScriptedServer, invoke: INVOKE
) -> None:
    for text in ("One two", "Three four"):
        server.play(answer([*chat_chunks(text)[:2], Reset()]))
    result = invoke("chat", "--restarts", "1", "Why?")
    assert (result.exit_code, result.stdout) == (3, "Three\n")
    note, error, *_ = result.stderr.splitlines()
    assert note.startswith("[")
    assert "peer. Asking for the answer again" in note  # and not what the user might do
    assert error.startswith("Error: ")


def test_a_pipe_gets_the_text_as_it_is(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer(chat_chunks(["\x1b[1mBlue\x1b[0m", "\r\n"])))
    result = invoke("chat", "Why?")
    assert result.stdout_bytes == b"\x1b[1mBlue\x1b[0m\r\n"


def test_a_pipe_gets_tokens_as_they_come(
    server: ScriptedServer, environment: dict[str, str]
) -> None:
    seen = threading.Event()
    first, *rest = chat_chunks(["Blue\n", "because"])[1:]
    server.play(answer([first, Wait(seen), *rest]))
    with subprocess.Popen(
        [*COMMAND, "chat", "Why?"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"Blue\n"
        seen.set()
        assert process.stdout.read() == b"because\n"
    assert process.returncode == 0


def test_half_a_character(server: ScriptedServer, run: RUN) -> None:
    server.play(answer([json.dumps(chunk) for chunk in chat_chunks(["a\ud83d", "b"])]))
    result = run("chat", "Why?")
    assert (result.returncode, result.stdout) == (0, "a?b\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_encoding_with_a_mark_has_it_once(
    server: ScriptedServer, environment: dict[str, str], encoding: str
) -> None:
    server.play(answer(chat_chunks(["one", " two", " three"])))
    result = subprocess.run(
        [*COMMAND, "chat", "Why?"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**environment, "PYTHONIOENCODING": encoding},
        timeout=PATIENCE,
        check=False,
    )
    assert result.stdout == "one two three\n".encode(encoding)


def test_an_encoding_without_the_character(server: ScriptedServer, run: RUN) -> None:
    server.play(answer(chat_chunks("naïve → yes")))
    result = run("chat", "Why?", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout) == (0, "na?ve ? yes\n")


def test_reasoning_goes_to_standard_error(server: ScriptedServer, invoke: INVOKE) -> None:
    chunks = chat_chunks(["Let me", " think", "Blue"])
    for chunk, name in zip(chunks[1:3], ("reasoning_content", "reasoning"), strict=True):
        delta = chunk["choices"][0]["delta"]
        delta[name] = delta.pop("content")
    server.play(answer(chunks))
    result = invoke("chat", "Why?")
    assert (result.stdout, result.stderr) == ("Blue\n", "Let me think\n")


def of_index(index: int, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for chunk in chunks:
        chunk["choices"][0]["index"] = index
    return chunks


def test_the_text_is_that_of_the_library(server: ScriptedServer, invoke: INVOKE) -> None:
    """An index that counts tokens, or is never 0; content in parts; a text that comes whole."""
    counted = chat_chunks(["The ", "sky ", "is blue"])
    for number, chunk in enumerate(counted):
        of_index(number, [chunk])
    thinking = counted[1]["choices"][0]["delta"]
    thinking["reasoning_content"] = "Hm."
    counted_too = completion_chunks("The sky is blue")
    for number, chunk in enumerate(counted_too):
        of_index(number, [chunk])
    parts = chat_chunks(["The sky ", "is blue"])
    for chunk in parts[1:-1]:
        delta = chunk["choices"][0]["delta"]
        delta["content"] = [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": delta["content"]},
        ]
    undivided = response("The sky is blue")[-1:]
    server.play(
        answer(counted),
        answer(counted_too),
        answer(of_index(1, chat_chunks("The sky is blue"))),
        answer(parts),
        answer(undivided, done=False),
    )
    results = [invoke(name, "Why?") for name in ("chat", "complete", "chat", "chat", "respond")]
    assert [result.stdout for result in results] == ["The sky is blue\n"] * 5
    assert results[0].stderr == "Hm.\n"


def test_of_several_choices_the_first_is_shown(server: ScriptedServer, invoke: INVOKE) -> None:
    one, other = chat_chunks("Blue"), of_index(1, chat_chunks("Green"))
    server.play(answer([chunk for pair in zip(other, one, strict=True) for chunk in pair]))
    result = invoke("chat", "-o", "n", "2", "Why?")
    assert result.stdout == "Blue\n"


def test_remarks(server: ScriptedServer, invoke: INVOKE) -> None:
    """What the text alone does not tell."""
    several = chat_chunks("Blue")
    for chunk in chat_chunks("Green"):
        chunk["choices"][0]["index"] = 1
        several.append(chunk)
    refusal = chat_chunks("No")
    delta = refusal[1]["choices"][0]["delta"]
    delta["refusal"] = delta.pop("content")
    custom = tool_call_chunks(("sql", "select 1"))
    for chunk in custom[1:-1]:
        for call in chunk["choices"][0]["delta"]["tool_calls"]:
            call["custom"] = call.pop("function")
            call["custom"].setdefault("input", call["custom"].pop("arguments"))
    server.play(
        answer(chat_chunks("Blue", finish_reason="length")),
        answer(chat_chunks("Blue", finish_reason="content_filter")),
        answer(tool_call_chunks(("weather", '{"city": "Rome"}'))),
        answer(custom),
        answer(several),
        answer(refusal),
        answer(completion_chunks("Blue", finish_reason="length")),
    )
    results = [invoke(command, "Why?") for command in ["chat"] * 6 + ["complete"]]
    assert [(result.stdout, result.stderr) for result in results] == [
        ("Blue\n", "[the answer is cut short: it has as many tokens as were allowed]\n"),
        ("Blue\n", "[the answer is cut short by the server's content filter]\n"),
        ("", '[tool call: weather({"city": "Rome"})]\n'),
        ("", "[tool call: sql(select 1)]\n"),
        ("Blue\n", "[there are 2 choices, and this is the first: --json shows all]\n"),
        ("No\n", ""),
        ("Blue\n", "[the answer is cut short: it has as many tokens as were allowed]\n"),
    ]


def test_remarks_on_responses(server: ScriptedServer, invoke: INVOKE) -> None:
    call = {"type": "function_call", "name": "weather", "arguments": "{}"}
    why = [{"reason": "max_output_tokens"}, {"reason": "boredom"}]
    for details in why:
        events = response("Blue", "incomplete", incomplete_details=details)
        server.play(answer(events, done=False))
    server.play(answer(response("Blue", output=[call])[2:], done=False))
    results = [invoke("respond", "Why?").stderr for _ in range(3)]
    assert results == [
        "Hm.\n[the answer is cut short: it has as many tokens as were allowed]\n",
        "Hm.\n[the answer is incomplete: boredom]\n",
        "[tool call: weather({})]\n",
    ]


@pytest.mark.parametrize(
    ("command", "events", "counted"),
    [
        ("chat", chat_chunks("One two three", usage=True), (9, 5)),
        ("complete", completion_chunks("One two three", usage=True), (9, 4)),
        ("respond", response("One"), (5, 2)),
    ],
)
def test_stats(
    server: ScriptedServer,
    invoke: INVOKE,
    command: str,
    events: list[dict[str, Any]],
    counted: tuple[int, int],
) -> None:
    server.play(answer([events[0], Pause(0.2), *events[1:]], done=command != "respond"))
    result = invoke(command, "--stats", "Why?")
    assert result.exit_code == 0
    figures = dict(re.findall(r"^(first token|longest gap|\w+) +(.+)$", result.stderr, re.M))
    prompt, answered = counted
    assert list(figures) == ["first token", "longest gap", "whole", "events", "tokens", "usage"]
    assert figures["usage"] == f"{prompt} prompt + {answered} answer = {prompt + answered} tokens"
    assert re.fullmatch(rf"{answered} \(\d+\.\d/s\)", figures["tokens"])
    assert re.fullmatch(rf"{len(events)} \(\d+\.\d/s\)", figures["events"])
    assert 0.15 <= float(figures["longest gap"].removesuffix(" s")) < 20
    first, whole = (float(figures[name].removesuffix(" s")) for name in ("first token", "whole"))
    assert first <= whole + 0.002  # both are rounded
    if command == "chat":  # where the first event brings no text
        assert first >= 0.15
    wanted = None if command == "respond" else {"include_usage": True}
    assert asked(server).get("stream_options") == wanted


def test_stats_without_usage_and_of_an_answer_that_broke_off(
    server: ScriptedServer, invoke: INVOKE
) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Reset()]))
    result = invoke("chat", "--stats", "-o", "stream_options", "null", "Why?")
    assert result.exit_code == 3
    assert "tokens       not reported by the server" in result.stderr
    assert asked(server)["stream_options"] is None


# How it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        (error_answer(400, "no such thing"), 1, "no such thing"),
        (error_answer(401, "who are you?"), 1, "Is the API key right?"),
        (answer([{"error": {"message": "overloaded"}}]), 3, "overloaded"),
        (answer(content_type="text/html"), 3, "text/html"),
    ],
)
def test_errors(
    server: ScriptedServer, invoke: INVOKE, script: Any, status: int, said: str
) -> None:
    server.play(script)
    result = invoke("chat", "Why?")
    assert result.exit_code == status
    assert result.stdout == ""
    assert re.fullmatch(rf"Error: .*{re.escape(said)}.*\n", result.stderr)
    assert "sk-of-the-tests" not in result.stderr


def test_a_broken_answer_names_the_option_that_asks_again(
    server: ScriptedServer, invoke: INVOKE
) -> None:
    server.play(answer([*chat_chunks("One two")[:2]], done=False))
    result = invoke("chat", "Why?")
    assert result.exit_code == 3
    assert "--restarts 1 does that by itself" in result.stderr
    assert "restarts=1" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "temperature=0", "--base-url", "http://x/v1"), "-o temperature 0"),
        (("-o", "temperature=0"), "-o temperature 0"),
        (("-o", "temperature=", "0"), "-o temperature VALUE"),
        (("-o", "temperature", "--base-url", "http://x/v1"), "-o temperature VALUE"),
    ],
)
def test_an_option_does_not_swallow_what_follows(
    server: ScriptedServer, invoke: INVOKE, arguments: tuple[str, ...], said: str
) -> None:
    result = invoke("chat", *arguments, "hi")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert server.requests == []


def test_an_option_takes_a_value_of_dashes(server: ScriptedServer, invoke: INVOKE) -> None:
    server.play(answer("Hello"))
    values = ("-o", "stop", "---", "-o", "seed", "-1", "-o", "user", '"--x"', "-o", "x", "a=b")
    assert invoke("chat", *values, "hi").exit_code == 0
    sent = asked(server)
    assert [sent[name] for name in ("stop", "seed", "user", "x")] == ["---", -1, "--x", "a=b"]


def test_nobody_there(run: RUN) -> None:
    with refused_url() as url:
        result = run("chat", "Why?", OPENAI_BASE_URL=url)
    assert (result.returncode, result.stdout) == (1, "")
    *notes, error = result.stderr.splitlines()
    again = re.compile(r"\[.* Asking again in .* \(retry \d of \d\)\]")
    assert len(notes) == 2
    assert all(again.fullmatch(note) for note in notes)
    assert re.fullmatch(r"Error: .*Connection refused.*", error)


def test_a_closed_pipe(server: ScriptedServer, environment: dict[str, str]) -> None:
    """It is quiet, it ends the stream, and the status is that of a process that SIGPIPE ended."""
    endless = [*chat_chunks(["One\n", "Two\n"])[1:3]] * 100_000
    server.play(answer(endless))
    script = '"$@" | head -n 1; echo "${PIPESTATUS[0]}"'
    result = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, "chat", "Why?"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.stdout, result.stderr) == (b"One\n141\n", b"")
    assert server.connections[0].client_closed.wait(20)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk(server: ScriptedServer, environment: dict[str, str], unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    server.play(answer(chat_chunks("One")))
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*COMMAND, "chat", "Why?"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONUNBUFFERED": unbuffered},
            timeout=PATIENCE,
            check=False,
        )
    assert result.returncode == 1
    assert b"No space left on device" in result.stderr
    assert b"Traceback" not in result.stderr


def test_standard_output_is_closed(environment: dict[str, str]) -> None:
    result = subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", *COMMAND, "chat", "Why?"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == b"Error: standard output is closed\n"


def test_ctrl_c(server: ScriptedServer, environment: dict[str, str]) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Hang()]))
    with subprocess.Popen(
        [*COMMAND, "chat", "Why?"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"One"
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest) == (130, (b"\n", b""))


# Around it -----------------------------------------------------------------------------------


def test_without_the_extra(tmp_path: Path) -> None:
    """One line says what to install; and the library itself does without."""
    for name in ("click", "rich", "distributed"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('must not be imported')")
    script = (
        "import importlib.util, sys; import openai_stream, openai_stream.__main__ as main\n"
        "assert not {'click', 'rich', 'distributed'} & set(sys.modules)\n"
        "importlib.util.find_spec = lambda name: None\n"
        "sys.exit(main.main())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        "Error: the command needs click and rich: install openai-stream with the extra 'cli' "
        '(in a checkout: python -m pip install ".[cli]")\n'
    )


def test_version(invoke: INVOKE) -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"openai-stream \d+\.\d+.*\n", result.stdout)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_it_says_of_itself_into_a_full_disk(environment: dict[str, str], option: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    result = subprocess.run(
        ["bash", "-c", '"$@" >/dev/full', "bash", *COMMAND, option],
        capture_output=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stderr) == (1, b"Error: No space left on device\n")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_it_says_of_itself_into_a_closed_pipe(
    environment: dict[str, str], option: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        result = subprocess.run(
            [*COMMAND, option],
            stdout=closed,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    assert (result.returncode, result.stderr) == (141, b"")
