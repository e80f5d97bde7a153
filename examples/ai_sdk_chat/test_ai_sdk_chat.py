"""The page with ``useChat``, in a real browser. Needs Node and npm, which fetches the SDK."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("flask")

from ai_sdk_chat import create_app
from flask import Flask, send_file
from werkzeug.serving import make_server

from openai_stream import Client
from openai_stream.testing import (
    Event,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
    tool_call_chunks,
)

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FOLDER = Path(__file__).parent
SOON = 30.0  # seconds; for what takes milliseconds on a machine that has nothing else to do
INSTALLS = 200.0


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's script, built as the README says, but elsewhere."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("page")
    for name in ("package.json", "page.jsx"):
        shutil.copy(FOLDER / name, folder)
    commands = [["install", "--no-audit", "--no-fund", "--silent"], ["run", "--silent", "build"]]
    for command in commands:
        done = subprocess.run(
            ["npm", *command],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALLS,
            check=False,
        )
        if done.returncode and command[0] == "install":
            pytest.skip(f"npm cannot install the AI SDK: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
    return folder / "static" / "page.js"


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes true in time."""
    until = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


class Page:
    """The page as its reader sees it."""

    def __init__(self, chrome: Chrome, url: str) -> None:
        self.chrome = chrome
        chrome.get(url)

    def ask(self, question: str) -> None:
        assert eventually(lambda: self.status() in ("ready", "error"))
        self.chrome.find_element("css selector", "input").send_keys(question)
        self.press()

    def press(self) -> None:
        self.chrome.find_element("css selector", "button").click()

    def status(self) -> str | None:
        return self._of("main", "dataset.status")

    def answer(self) -> str | None:
        """The newest."""
        return self._of(".assistant:last-of-type", "textContent") or self._of(
            ".assistant", "textContent"
        )

    def _of(self, selector: str, what: str) -> str | None:
        return self.chrome.execute_script(  # type: ignore[no-any-return]
            f"return document.querySelector({selector!r})?.{what} ?? null"
        )

    def shows(self, answer: str, status: str) -> None:
        assert eventually(lambda: (self.answer(), self.status()) == (answer, status)), (
            f"{(self.answer(), self.status())} is not {(answer, status)}"
        )


Visit = Callable[..., Page]


@pytest.fixture
def visit(server: ScriptedServer, chromium: Chrome, script: Path) -> Iterator[Visit]:
    """Opens the page of a site that asks the scripted server."""
    stops: list[Callable[[], None]] = []
    with Client(api_key="sk-none", base_url=server.base_url, max_retries=0) as client:

        def go(change: Callable[[Flask], object] = lambda app: None) -> Page:
            app: Flask = create_app(client, "m")
            app.view_functions["static"] = lambda filename: send_file(script)
            change(app)
            http = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=http.serve_forever, args=(0.02,))
            thread.start()

            def stop() -> None:
                for stream in app.extensions["streams"].values():
                    stream.close()
                http.shutdown()
                thread.join()
                http.server_close()

            stops.append(stop)
            return Page(chromium, f"http://127.0.0.1:{http.server_port}/")

        yield go
        chromium.get("about:blank")
        for stop in stops:
            stop()


def gated(text: str) -> tuple[list[Event], threading.Event]:
    """The chunks of an answer, which waits after its first word."""
    first, word, *rest = chat_chunks(text)
    gate = threading.Event()
    return [first, word, Wait(gate), *rest], gate


@pytest.mark.limit(500)
@pytest.mark.leaves("the browser keeps its connections to the page's server")
class TestPage:
    def test_an_answer_is_shown_while_it_comes(self, server: ScriptedServer, visit: Visit) -> None:
        events, gate = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        page.shows("One", "streaming")
        gate.set()
        page.shows("One two three", "ready")
        assert server.requests[0].json["messages"] == [{"role": "user", "content": "Count!"}]

    def test_stop_stops_the_model(self, server: ScriptedServer, visit: Visit) -> None:
        events, _ = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        page.shows("One", "streaming")
        page.press()
        pressed_at = time.monotonic()
        connection = server.connections[0]
        assert connection.client_closed.wait(SOON)
        assert connection.client_closed_at is not None
        assert connection.client_closed_at - pressed_at < 0.5
        page.shows("One", "ready")

    def test_the_test_of_stop_sees_that_there_is_none(
        self, server: ScriptedServer, visit: Visit
    ) -> None:
        def break_stop(app: Flask) -> None:
            app.view_functions["stop"] = lambda chat_id: ("", 204)

        events, _ = gated("One two three")
        server.play(answer(events))
        page = visit(break_stop)
        page.ask("Count!")
        page.shows("One", "streaming")
        page.press()
        assert not server.connections[0].client_closed.wait(1)
        page.shows("One", "streaming")

    def test_a_reload_gets_the_answer_from_its_beginning(
        self, server: ScriptedServer, visit: Visit
    ) -> None:
        events, gate = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        page.shows("One", "streaming")
        page.chrome.refresh()
        page.shows("One", "streaming")
        assert not server.connections[0].client_closed.is_set()
        gate.set()
        page.shows("One two three", "ready")
        assert len(server.requests) == 1

    def test_a_tool_call_is_shown(self, server: ScriptedServer, visit: Visit) -> None:
        server.play(answer(tool_call_chunks(("get_weather", '{"city": "Oslo"}'))))
        page = visit()
        page.ask("Oslo?")
        page.shows('get_weather({"city":"Oslo"})', "ready")

    @pytest.mark.parametrize(
        ("script_of", "words", "kind"),
        [
            ("cut", "The connection to the model broke off", "StreamInterruptedError"),
            ("busy", "The model is busy", "RateLimitError"),
        ],
    )
    def test_an_error_is_shown_in_words(
        self, server: ScriptedServer, visit: Visit, script_of: str, words: str, kind: str
    ) -> None:
        if script_of == "cut":
            server.play(answer(chat_chunks("One two three")[:2], done=False))
        else:
            server.play(error_answer(429, "Secret things."))
        page = visit()
        page.ask("Count!")
        assert eventually(lambda: page.status() == "error")
        alert = page.chrome.find_element("css selector", "[role=alert]")
        assert words in alert.text
        assert alert.get_attribute("data-type") == kind
        assert "Secret" not in page.chrome.page_source
        if script_of == "cut":
            assert page.answer() == "One"
