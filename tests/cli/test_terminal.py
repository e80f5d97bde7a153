"""The command on a real terminal: what is shown when, Ctrl-C, colours, the window."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from processes import Terminal

from openai_stream.cli.conversation import converse
from openai_stream.cli.notes import warnings_told
from openai_stream.testing import (
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
)

OPEN = Callable[..., Terminal]


def reasoning(*pieces: str) -> list[dict[str, Any]]:
    """Chunks of a chat with reasoning in them, as llama.cpp and DeepSeek send them."""
    chunks = chat_chunks(pieces)
    for chunk in chunks[1:-1]:
        delta = chunk["choices"][0]["delta"]
        delta["reasoning_content"] = delta.pop("content")
    return chunks[:-1]


def test_tokens_are_shown_as_they_come(server: ScriptedServer, terminal: OPEN) -> None:
    seen = threading.Event()
    first, *rest = chat_chunks(["Blue", " because"])[1:]
    server.play(answer([first, Wait(seen), *rest]))
    shown = terminal("chat", "Why?")
    shown.expect("Blue")
    seen.set()
    shown.expect(" because\r\n")
    assert shown.end() == 0


def test_reasoning_is_dim_and_apart_from_the_answer(server: ScriptedServer, terminal: OPEN) -> None:
    server.play(answer([*reasoning("Let me", " think"), *chat_chunks(["Blue"])]))
    shown = terminal("chat", "Why?")
    assert shown.end() == 0
    assert shown.shown == "\x1b[2mLet me\x1b[0m\x1b[2m think\x1b[0m\r\nBlue\r\n"


@pytest.mark.parametrize("width", [10, 200])
def test_no_color_and_any_width_give_the_plain_text(
    server: ScriptedServer, terminal: OPEN, width: int
) -> None:
    text = "a long answer that does not fit into a line of ten"
    server.play(answer([*reasoning("so", " I think"), *chat_chunks(text)]))
    shown = terminal("chat", "Why?", width=width, NO_COLOR="1")
    assert shown.end() == 0
    # The terminal folds the lines, not the command.
    assert shown.shown == f"so I think\r\n{text}\r\n"


def test_an_answer_does_not_command_the_terminal(server: ScriptedServer, terminal: OPEN) -> None:
    pieces = ["\x1b", "]0;title\x07", "\x9b31m", "\r", "\x7f", "a\tb\n"]
    server.play(answer([*reasoning("\x1b[2J"), *chat_chunks(pieces)]))
    shown = terminal("chat", "Why?", NO_COLOR="1")
    assert shown.end() == 0
    assert shown.shown == "␛[2J\r\n␛]0;title␇\N{REPLACEMENT CHARACTER}31m␡a\tb\r\n"


def test_events_as_json_do_not_command_the_terminal(server: ScriptedServer, terminal: OPEN) -> None:
    server.play(answer(chat_chunks(["\x1b[2J\x9b2J"])))
    shown = terminal("chat", "--json", "Why?")
    assert shown.end() == 0
    assert r'"content": "\u001b[2J\u009b2J"' in shown.shown
    assert not re.search(r"[\x1b\x80-\x9f]", shown.shown)


def test_an_error_of_the_server_does_not_command_the_terminal(
    server: ScriptedServer, terminal: OPEN
) -> None:
    server.play(error_answer(400, "no\x1b[2J such\nthing"))
    shown = terminal("chat", "Why?")
    assert shown.end() == 1
    assert "no[2J such thing" in shown.shown
    assert "\x1b" not in shown.shown


def test_a_restart_says_what_is_void(server: ScriptedServer, terminal: OPEN) -> None:
    server.play(answer([*chat_chunks("Blue, as")[:2], Reset()]), answer(chat_chunks("Green")))
    shown = terminal("chat", "--restarts", "1", "Why?")
    assert shown.end() == 0
    lines = shown.shown.splitlines()
    assert lines[0] == "Blue,"
    assert "ignore the above" in lines[1]
    assert lines[-1] == "Green"


def test_ctrl_c_ends_the_command(server: ScriptedServer, terminal: OPEN) -> None:
    server.play(answer([*chat_chunks("Blue, as")[:2], Hang()]))
    shown = terminal("chat", "Why?")
    shown.expect("Blue,")
    shown.send("\x03")
    assert shown.end() == 130
    assert "Traceback" not in shown.shown
    assert server.connections[0].client_closed.wait(20)


def test_a_conversation(server: ScriptedServer, terminal: OPEN) -> None:
    """Ctrl-C stops an answer, of which what came is remembered; at the prompt, it clears."""
    server.play(
        answer(chat_chunks("Blue")),
        answer([*chat_chunks("Well, it")[:2], Hang()]),
        error_answer(400, "not so"),
        answer([Hang()]),
        answer([*chat_chunks("Half of")[:2], Reset()]),
        answer(chat_chunks("Bye")),
    )
    shown = terminal("chat", "--system", "Be brief.")
    shown.expect("> ")
    shown.send("Which colour?\r")
    shown.expect("Blue\r\n")
    shown.expect("> ")
    shown.send("not this one\x03")
    shown.expect("\r\n")
    shown.expect("> ")
    shown.send("\r")  # nothing asked
    shown.expect("> ")
    shown.send("Why?\r")
    shown.expect("Well,")
    shown.send("\x03")
    shown.expect("stopped")
    shown.expect("> ")
    shown.send("And so?\r")
    shown.expect("not so")
    shown.expect("> ")
    shown.send("Hm?\r")
    server.wait_for_requests(4, 20)
    shown.send("\x03")  # before the answer has begun
    shown.expect("stopped")
    shown.expect("> ")
    shown.send("More?\r")
    shown.expect("Half")
    shown.expect("Error: ")
    shown.expect("> ")
    shown.send("Thanks\r")
    shown.expect("Bye")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.end() == 0
    told = [(one["role"], one["content"]) for one in server.requests[-1].json["messages"]]
    assert told == [
        ("system", "Be brief."),
        ("user", "Which colour?"),
        ("assistant", "Blue"),
        ("user", "Why?"),
        ("assistant", "Well,"),
        ("user", "More?"),
        ("assistant", "Half"),
        ("user", "Thanks"),
    ]


def test_ctrl_c_while_a_question_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the question, as a moment later, and not the conversation."""

    class Starting:
        def start(self, messages: Any) -> Any:
            raise KeyboardInterrupt

    typed = iter(["one", "two"])
    asked = []

    def read(prompt: str) -> str:
        asked.append(prompt)
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    converse(Starting(), None)  # type: ignore[arg-type]
    assert len(asked) == 3
    assert capsys.readouterr().err.count("[stopped]") == 2


def test_a_conversation_through_the_responses_api(server: ScriptedServer, terminal: OPEN) -> None:
    def response(text: str) -> list[dict[str, Any]]:
        output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        return [
            {"type": "response.output_text.delta", "delta": text},
            {"type": "response.completed", "response": {"output": output}},
        ]

    server.play(answer(response("Blue"), done=False), answer(response("Bye"), done=False))
    shown = terminal("respond", "-s", "Be brief.")
    shown.expect("> ")
    shown.send("Which colour?\r")
    shown.expect("Blue\r\n")
    shown.expect("> ")
    shown.send("Why?\r")
    shown.expect("Bye\r\n")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.end() == 0
    assert server.requests[-1].json["instructions"] == "Be brief."
    assert [one["content"] for one in server.requests[-1].json["input"]] == [
        "Which colour?",
        "Blue",
        "Why?",
    ]


def test_complete_has_no_conversation(terminal: OPEN) -> None:
    shown = terminal("complete")
    assert shown.end() == 2
    assert "no prompt" in shown.shown


# What is remembered, and what is waited for -----------------------------------------------------


def test_signed_reasoning_goes_back(server: ScriptedServer, terminal: OPEN) -> None:
    """Servers refuse a conversation in which it is missing; reasoning that is only text stays."""
    details = [{"type": "reasoning.encrypted", "data": "c2lnbmVk", "index": 0}]
    chunks = chat_chunks(["Blue"])
    chunks[1]["choices"][0]["delta"]["reasoning_details"] = details
    server.play(answer([*reasoning("so"), *chunks]), answer(chat_chunks(["Bye"])))
    shown = terminal("chat")
    shown.expect("> ")
    shown.send("Why?\r")
    shown.expect("Blue\r\n")
    shown.expect("> ")
    shown.send("And?\r")
    shown.expect("Bye\r\n")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.end() == 0
    question, answered, further = server.requests[1].json["messages"]
    assert (question["content"], further["content"]) == ("Why?", "And?")
    assert answered == {"role": "assistant", "content": "Blue", "reasoning_details": details}


def test_a_call_to_a_tool_is_not_remembered(server: ScriptedServer, terminal: OPEN) -> None:
    """Nobody gives its result, without which servers refuse what follows."""
    chunks = chat_chunks(["Blue"])
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chunks[1]["choices"][0]["delta"]["tool_calls"] = [call]
    chunks[1]["choices"][0]["delta"]["reasoning_content"] = "so"
    server.play(answer(chunks), answer(chat_chunks(["Bye"])))
    shown = terminal("chat")
    shown.expect("> ")
    shown.send("Why?\r")
    shown.expect("> ")
    shown.send("And?\r")
    shown.expect("Bye\r\n")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.end() == 0
    assert server.requests[1].json["messages"][1] == {"role": "assistant", "content": "Blue"}


@pytest.mark.parametrize("conversation", [False, True])
def test_says_that_it_waits_for_a_retry(
    server: ScriptedServer, terminal: OPEN, conversation: bool
) -> None:
    """While it waits, and in a line of its own; the answer then comes as ever."""
    slow = error_answer(429, "slow\x1b[2J down", headers={"Retry-After": "1"})
    server.play(slow, answer(chat_chunks("Blue")))
    shown = terminal("chat", *([] if conversation else ["Why?"]))
    if conversation:
        shown.expect("> ")
        shown.send("Why?\r")
    shown.expect("429 Too Many Requests: slow")
    shown.expect("Asking again in 1.0 s (retry 1 of 2)]")
    assert len(server.requests) == 1  # it is said before, not after
    shown.expect("Blue\r\n")
    if conversation:
        shown.expect("> ")
        shown.send("\x04")
    assert shown.end() == 0
    assert len(server.requests) == 2
    assert "\x1b[2J" not in shown.shown
    assert "Error" not in shown.shown


def test_ctrl_c_while_it_waits_for_a_retry(server: ScriptedServer, terminal: OPEN) -> None:
    server.play(error_answer(429, "slow down", headers={"Retry-After": "50"}))
    shown = terminal("chat", "Why?")
    shown.expect("Asking again in 50.0 s")
    shown.send("\x03")
    assert shown.end() == 130
    assert "Traceback" not in shown.shown
    assert len(server.requests) == 1


def test_says_what_the_library_warns_of(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """That it waits to ask again, for one; in a line, in the words of the command line."""
    log = logging.getLogger("openai_stream")
    with warnings_told(restarts=False):
        log.warning("%s. Asking again in %.1f s", "http://x:\n503 \x1b[31m\u202ebusy", 1.0)
        log.warning("Asking for the answer again in 1.0 s")
    said = capfd.readouterr().err
    assert said == "[http://x: 503 ␛[31m\N{REPLACEMENT CHARACTER}busy. Asking again in 1.0 s]\n"
