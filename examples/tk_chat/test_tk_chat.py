"""The chat window, on a display: it goes on living whatever the model's server does."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("tkinter", reason="this Python has no Tk")

import tkinter as tk

from tk_chat import MOST, ChatWindow

from openai_stream import Client
from openai_stream.testing import (
    Event,
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
)

SOON = 20.0  # seconds; for what takes milliseconds on a machine that has nothing else to do


class Desk:
    """A window, and someone at it who counts how often the window's event loop comes round."""

    def __init__(self, root: tk.Tk, client: Client) -> None:
        self.root = root
        self.window = ChatWindow(root, client, "gpt-6-luna")
        self.ticks = 0
        self._tick()
        root.update()

    def _tick(self) -> None:
        self.ticks += 1
        self.root.after(5, self._tick)

    @property
    def closed(self) -> bool:
        try:
            return not self.root.winfo_exists()
        except tk.TclError:
            return True

    def until(self, condition: Callable[[], object]) -> None:
        """Run the event loop until that comes true."""
        deadline = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < deadline, self.text
            self.root.update()
            time.sleep(0.001)

    def ask(self, question: str) -> None:
        self.window.question.insert(0, question)
        self.window.send.invoke()

    @property
    def text(self) -> str:
        return self.window.transcript.get("1.0", "end").rstrip("\n")

    @property
    def running(self) -> bool:
        return str(self.window.stop.cget("state")) == "normal"


@pytest.fixture(scope="module")
def toolkit(display: str) -> None:
    """Tk keeps the connection that its first window makes."""
    tk.Tk().destroy()


@pytest.fixture
def desk(toolkit: None, server: ScriptedServer) -> Iterator[Desk]:
    with Client(base_url=server.base_url, max_retries=0) as client:
        desk = Desk(tk.Tk(), client)
        yield desk
        if not desk.closed:
            desk.window.close()
    # Tk's objects refer to each other in circles, and want to be freed on their own thread.
    del desk
    gc.collect()


def gated(text: str) -> tuple[list[Event], threading.Event]:
    """The chunks of an answer that waits, after the first word, for the event."""
    gate = threading.Event()
    first, word, *others = chat_chunks(text)
    return [first, word, Wait(gate), *others], gate


def test_the_window_lives_while_the_server_says_nothing(desk: Desk, server: ScriptedServer) -> None:
    """Once before the response has begun, once in the middle of it."""
    before = threading.Event()
    events, within = gated("One two three")
    server.play([Wait(before), *answer(events)])
    # A window that waits would never come to set them.
    rescue = threading.Timer(SOON, server.close)
    rescue.start()
    desk.ask("Count!")
    try:
        for silence, shown in ((before, "Count!"), (within, "Count!\nOne")):
            desk.until(lambda shown=shown: desk.text == shown)  # type: ignore[misc]
            seen = desk.ticks
            desk.until(lambda seen=seen: desk.ticks > seen + 20)  # type: ignore[misc]
            assert desk.running
            assert not silence.is_set()
            silence.set()
        desk.until(lambda: not desk.running)
    finally:
        rescue.cancel()
        rescue.join()
    assert desk.text == "Count!\nOne two three"


def test_the_window_lives_while_words_pour_in(desk: Desk, server: ScriptedServer) -> None:
    """However many events are there at once, the window's own work has its turn between them."""
    words = [f" {number}" for number in range(20 * MOST)]
    server.play(answer(chat_chunks(words), events_per_chunk=1000))
    desk.ask("Count!")
    began = desk.ticks
    desk.until(lambda: not desk.running)
    assert desk.text == "Count!\n" + "".join(words)
    assert desk.ticks - began >= 20


def test_stop(desk: Desk, server: ScriptedServer) -> None:
    events, _ = gated("One two three")
    server.play(answer(events), answer(chat_chunks("Two")))
    desk.ask("Count!")
    desk.until(lambda: desk.text == "Count!\nOne")
    desk.window.stop.invoke()
    assert server.connections[0].client_closed.wait(SOON)
    desk.until(lambda: not desk.running)
    assert desk.text == "Count!\nOne\nStopped."
    # What had come is part of the conversation.
    desk.ask("Go on!")
    desk.until(lambda: not desk.running)
    assert [message["content"] for message in server.requests[1].json["messages"]] == [
        "Count!",
        "One",
        "Go on!",
    ]


def test_stop_while_it_connects(desk: Desk, server: ScriptedServer) -> None:
    server.play(Hang(), answer(chat_chunks("One")))
    desk.ask("Count!")
    server.wait_for_requests(1)
    desk.root.focus_force()
    desk.root.event_generate("<Escape>")
    desk.until(lambda: not desk.running)
    assert server.connections[0].client_closed.wait(SOON)
    # What brought no answer is not told to the model.
    desk.ask("Once more!")
    desk.until(lambda: not desk.running)
    assert len(server.requests[1].json["messages"]) == 1


def test_an_answer_that_is_cut_keeps_its_text(desk: Desk, server: ScriptedServer) -> None:
    server.play(answer([*chat_chunks("One two three")[:3], Reset()]))
    desk.ask("Count!")
    desk.until(lambda: not desk.running)
    assert desk.text.startswith("Count!\nOne two\n")
    assert "cut" in desk.text or "reset" in desk.text
    assert desk.window.transcript.tag_ranges("error")


def test_an_error_is_shown(desk: Desk, server: ScriptedServer) -> None:
    server.play(error_answer(401, "Incorrect API key."))
    desk.ask("Count!")
    desk.until(lambda: not desk.running)
    assert "Incorrect API key." in desk.text


def test_closing_the_window_stops_the_answer(desk: Desk, server: ScriptedServer) -> None:
    events, _ = gated("One two three")
    server.play(answer(events))
    desk.ask("Count!")
    desk.until(lambda: desk.text == "Count!\nOne")
    desk.window.close()
    assert desk.closed
    assert server.connections[0].client_closed.wait(SOON)


def test_pictures(desk: Desk, display: str, server: ScriptedServer, pictures: Path) -> None:
    """For the documentation; not part of a usual run."""
    from PIL import ImageGrab  # noqa: PLC0415

    server.play(
        answer(chat_chunks("It covers more than two thirds of the Earth, and stores its warmth.")),
        answer([*chat_chunks("Sunlight is made of all colours. Air")[:-1], Hang()]),
    )
    desk.root.geometry("560x320+0+0")
    desk.ask("Tell me about the sea")
    desk.until(lambda: not desk.running)
    desk.ask("Why is the sky blue?")
    desk.until(lambda: desk.text.endswith("Air"))
    desk.root.update()
    place = (0, 0, desk.root.winfo_width(), desk.root.winfo_height())
    ImageGrab.grab(place, xdisplay=display).save(pictures / "tk_chat.png", optimize=True)
