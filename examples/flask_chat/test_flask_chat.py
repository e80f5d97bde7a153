"""The chat page, in a real browser, and what the site does when no page of its own asks."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

pytest.importorskip("flask")

from app import COOKIE, Conversations, create_app, in_words
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server
from werkzeug.test import Client as Visitor

import openai_stream
from openai_stream import Client
from openai_stream.testing import (
    Event,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
    refused_url,
)

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

Launch = Callable[..., "subprocess.Popen[str]"]

KEY = "sk-not-for-any-page"
SOON = 20.0  # seconds; for what takes milliseconds on a machine that has nothing else to do


# The site ------------------------------------------------------------------------------------


@pytest.fixture
def site(server: ScriptedServer) -> Iterator[Callable[..., Flask]]:
    """Makes the site, which asks the scripted server; arguments are those of ``create_app``."""
    made: list[Conversations] = []
    with Client(api_key=KEY, base_url=server.base_url, max_retries=0) as client:

        def make(**settings: float) -> Flask:
            app = create_app(client, "gpt-6-luna", **settings)
            made.append(app.extensions["conversations"])
            return app

        yield make
        for conversations in made:
            conversations.close()
        assert eventually(lambda: not readers()), "a stream outlives the site"


@pytest.fixture
def serve(site: Callable[..., Flask]) -> Iterator[Callable[..., str]]:
    """Serves the site as ``app.run(threaded=True)`` does, and gives its address.

    With *hold*, it takes no question before that is set; *change* is called with the site.
    """
    stops: list[Callable[[], None]] = []

    def start(
        hold: threading.Event | None = None,
        change: Callable[[Flask], object] = lambda app: None,
        **settings: float,
    ) -> str:
        app = site(**settings)
        change(app)
        if hold is not None:

            @app.before_request
            def _() -> None:
                if request.path == "/ask":
                    hold.wait(SOON)

        http = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()

        def stop() -> None:
            http.shutdown()
            thread.join()
            http.server_close()

        stops.append(stop)
        return f"http://127.0.0.1:{http.server_port}/"

    yield start
    for stop in stops:
        stop()


def readers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("openai-stream-")]


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes true in time."""
    until = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def gated(text: str) -> tuple[list[Event], list[threading.Event]]:
    """The chunks of an answer: after each of its words it waits for the next event to be set."""
    first, *pieces, last = chat_chunks(text)
    gates = [threading.Event() for _ in pieces]
    events: list[Event] = [first]
    for piece, gate in zip(pieces, gates, strict=True):
        events += [piece, Wait(gate)]
    return [*events, last], gates


def until(whole: Any, cut: threading.Event) -> Iterator[bytes]:
    """A response, to where it is cut."""
    try:
        for block in whole:
            if cut.is_set():
                return
            yield block
    finally:
        whole.close()


def told(stream: str) -> tuple[str, str, Any]:
    """The text in server-sent events, and the last of them: its name and data."""
    found = re.findall(r"^(?:event: (.*)\n)?data: (.*)$", stream, re.MULTILINE)
    events = [(event, json.loads(data)) for event, data in found]
    pieces = [data["choices"][0]["delta"].get("content") for event, data in events if not event]
    return "".join(filter(None, pieces)), *events[-1]


DONE = ("done", {"closed": False})


# In a browser --------------------------------------------------------------------------------


class Page:
    """The page as its reader sees it."""

    def __init__(self, chrome: Chrome, url: str) -> None:
        self.chrome = chrome
        self.url = url
        self.open()

    def open(self) -> None:
        self.chrome.get(self.url)

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element("css selector", selector)

    def type(self, *keys: str) -> None:
        """Into whatever has the focus."""
        self.chrome.switch_to.active_element.send_keys(*keys)

    def ask(self, question: str) -> None:
        self.find("#question").send_keys(question)
        self.find("#send").click()

    def turns(self) -> list[list[str]]:
        """Of each turn its question, its answer, its state, and the note that can be seen."""
        return self.run(  # type: ignore[no-any-return]
            """return [...document.querySelectorAll(".turn")].map((turn) => [
                turn.querySelector(".question").textContent,
                turn.querySelector(".answer").textContent,
                turn.dataset.state,
                turn.querySelector(".note").offsetParent
                    ? turn.querySelector(".words").textContent : "",
            ])"""
        )

    def shows(self, answer: str, state: str, note: str = "") -> None:
        """The newest turn comes to look like this."""
        wanted = [answer, state, note]
        assert eventually(lambda: self.turns()[-1:] and self.turns()[-1][1:] == wanted), (
            f"{self.turns()} is not {wanted}"
        )

    def run(self, script: str, *arguments: object) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def emulate(self, command: str, **parameters: object) -> None:
        self.chrome.execute_cdp_cmd(f"Emulation.{command}", parameters)

    def phone(self, width: int) -> None:
        self.emulate(
            "setDeviceMetricsOverride", width=width, height=720, deviceScaleFactor=2, mobile=True
        )


@pytest.fixture
def visit(chromium: Chrome, serve: Callable[..., str]) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end, nothing may have been complained of on the browser's console."""

    def go(**settings: Any) -> Page:
        return Page(chromium, serve(**settings))

    yield go
    log = chromium.get_log("browser")  # type: ignore[no-untyped-call]
    for command in ("clearDeviceMetricsOverride", "setEmulatedMedia"):
        chromium.execute_cdp_cmd(f"Emulation.{command}", {})
    chromium.get("about:blank")
    chromium.delete_all_cookies()
    assert [entry["message"] for entry in log] == []


@pytest.mark.leaves("the browser keeps its connections to the page's server")
class TestPage:
    def test_words_appear_while_they_come(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        events, gates = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        for gate, text in zip(gates, ("One", "One two", "One two three"), strict=True):
            page.shows(text, "running")
            assert page.find(".answer").get_attribute("aria-busy") == "true"
            assert page.find("#stop").is_displayed()
            assert not page.find("#send").is_displayed()
            gate.set()
        page.shows("One two three", "done")
        assert page.find(".answer").get_attribute("aria-busy") == "false"
        assert page.find("#send").is_displayed()
        assert not page.find("#stop").is_displayed()
        assert server.requests[0].json["messages"] == [{"role": "user", "content": "Count!"}]

    def test_stop(self, server: ScriptedServer, visit: Callable[..., Page]) -> None:
        events, gates = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        gates[0].set()
        page.shows("One two", "running")
        page.run(
            """const turn = document.querySelector(".turn");
            const stop = document.getElementById("stop");
            stop.addEventListener("click", ({ timeStamp }) => {
                new MutationObserver(() => {
                    if (turn.dataset.state === "stopped")
                        window.stoppedAfter = performance.now() - timeStamp;
                }).observe(turn, { attributes: true });
            }, { capture: true });"""
        )
        page.find("#stop").click()
        clicked_at = time.monotonic()
        page.shows("One two", "stopped", "Stopped.")
        assert page.run("return window.stoppedAfter") < 500
        # And the model's server was told: it can stop computing.
        connection = server.connections[0]
        assert connection.client_closed.wait(SOON)
        assert connection.client_closed_at is not None
        assert connection.client_closed_at - clicked_at < 0.5
        assert not readers()
        # What had come is still there for a page that is loaded anew, and for the model.
        page.open()
        page.shows("One two", "stopped", "Stopped.")
        server.play(answer(chat_chunks("Three")))
        page.ask("Go on!")
        page.shows("Three", "done")
        assert server.requests[1].json["messages"] == [
            {"role": "user", "content": "Count!"},
            {"role": "assistant", "content": "One two"},
            {"role": "user", "content": "Go on!"},
        ]

    def test_stop_while_the_model_is_silent(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        never = threading.Event()
        server.play([Wait(never)])
        page = visit()
        page.ask("Are you there?")
        server.wait_for_requests(1)
        page.find("#stop").click()
        page.shows("", "stopped", "Stopped.")
        assert server.connections[0].client_closed.wait(SOON)

    def test_stop_while_the_question_is_on_its_way(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        events, _ = gated("One two three")
        server.play(answer(events))
        hold = threading.Event()
        page = visit(hold=hold)
        page.ask("Count!")
        page.find("#stop").click()
        status = page.find('[role="status"]')
        assert eventually(lambda: status.get_attribute("textContent") == "Stopping.")
        hold.set()
        assert eventually(lambda: page.turns()[0][2] == "stopped")
        assert eventually(lambda: not readers())

    def test_reload_picks_the_answer_up_again(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        events, gates = gated("One two three")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        gates[0].set()
        page.shows("One two", "running")
        page.open()
        assert page.turns()[0][0] == "Count!"
        page.shows("One two", "running")
        gates[1].set()
        page.shows("One two three", "running")
        gates[2].set()
        page.shows("One two three", "done")
        page.open()
        page.shows("One two three", "done")
        assert len(server.requests) == 1

    def test_a_cut_goes_on_where_it_was(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        """The browser comes back by itself, with the number of what it had last."""
        events, gates = gated("One two three")
        server.play(answer(events))
        cut = threading.Event()
        had: list[str | None] = []

        def break_off(app: Flask) -> None:
            @app.after_request
            def _(response: Response) -> Response:
                if request.path.startswith("/answers/"):
                    had.append(request.headers.get("Last-Event-ID"))
                    if len(had) == 1:
                        whole = response.response
                        # At once, not after the browser's three seconds.
                        response.response = itertools.chain([b"retry: 50\n\n"], until(whole, cut))
                return response

        page = visit(change=break_off)
        page.ask("Count!")
        gates[0].set()
        page.shows("One two", "running")
        cut.set()
        gates[1].set()
        page.shows("One two three", "running")
        gates[2].set()
        page.shows("One two three", "done")
        # Of four events it had three or four: the last that had gone out may have been on the way.
        assert had[0] is None
        assert had[1:] in (["3"], ["4"])
        assert len(server.requests) == 1

    def test_the_test_of_stop_sees_that_there_is_none(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        """Were the site to do nothing at a Stop, the model's server would not be told."""

        def break_stop(app: Flask) -> None:
            app.view_functions["stop"] = jsonify

        events, gates = gated("One two three")
        server.play(answer(events))
        page = visit(change=break_stop)
        page.ask("Count!")
        gates[0].set()
        page.shows("One two", "running")
        page.find("#stop").click()
        assert not server.connections[0].client_closed.wait(1)
        page.shows("One two", "running")
        for gate in gates:
            gate.set()
        page.shows("One two three", "done")

    @pytest.mark.parametrize(
        ("reason", "note"),
        [("length", "greatest length"), ("content_filter", "content filter")],
    )
    def test_why_an_answer_ends_early_is_told(
        self, server: ScriptedServer, visit: Callable[..., Page], reason: str, note: str
    ) -> None:
        server.play(answer(chat_chunks("One", finish_reason=reason)))
        page = visit()
        page.ask("Count!")
        assert eventually(lambda: page.turns()[0][2] == "done")
        assert note in page.turns()[0][3]
        shown = page.turns()
        page.open()
        assert page.turns() == shown, "the site says it in the same words"

    def test_a_page_that_is_left_stops_the_model(
        self,
        server: ScriptedServer,
        visit: Callable[..., Page],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("openai_stream.web.events.SILENCE", 0.05)
        events, _ = gated("One two")
        server.play(answer(events))
        page = visit(grace=0.2)
        page.ask("Count!")
        page.shows("One", "running")
        page.chrome.get("about:blank")
        assert server.connections[0].client_closed.wait(SOON)
        page.open()
        page.shows("One", "stopped", "Stopped: nobody was reading.")

    def test_an_answer_that_is_cut_keeps_its_text(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        server.play(
            answer([*chat_chunks("One two three")[:3], Reset()]),
            answer(chat_chunks("One two three")),
        )
        page = visit()
        page.ask("Count!")
        broke_off = "The connection to the model broke off: the answer is not whole."
        page.shows("One two", "failed", broke_off)
        assert page.find('[role="status"]').text == broke_off
        page.find(".again").click()
        page.shows("One two three", "done")
        assert [turn[0] for turn in page.turns()] == ["Count!", "Count!"]

    @pytest.mark.parametrize(
        ("status", "headers", "words"),
        [
            (401, {}, "does not accept this site's key"),
            (429, {"Retry-After": "120"}, "It asks to be left alone for 2 minutes."),
        ],
    )
    def test_an_error_is_told_in_words(
        self,
        server: ScriptedServer,
        visit: Callable[..., Page],
        status: int,
        headers: dict[str, str],
        words: str,
    ) -> None:
        server.play(error_answer(status, f"Incorrect API key: {KEY}", headers=headers))
        page = visit()
        page.ask("Count!")
        assert eventually(lambda: page.turns()[0][2] == "failed")
        assert words in page.turns()[0][3]
        source = page.chrome.page_source
        assert KEY not in source
        assert str(server.port) not in source

    def test_a_stop_that_does_not_get_through_is_told(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        events, _ = gated("One two")
        server.play(answer(events))
        page = visit()
        page.ask("Count!")
        page.shows("One", "running")
        status = page.find('[role="status"]')
        assert status.size["height"] == 1, "seen where there is nothing wrong"
        page.run("window.there = fetch; window.fetch = () => Promise.reject(new TypeError())")
        page.find("#stop").click()
        assert eventually(lambda: "cannot be reached" in status.text)
        assert status.size["height"] > 10
        page.shows("One", "running")
        page.run("window.fetch = window.there")
        page.find("#stop").click()
        page.shows("One", "stopped", "Stopped.")
        assert status.size["height"] == 1

    def test_by_keyboard_alone(self, server: ScriptedServer, visit: Callable[..., Page]) -> None:
        from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

        (first, gates), (second, _), (third, _) = gated("One two"), gated("Uno"), gated("Un")
        server.play(answer(first), answer(second), answer(third))
        page = visit()

        def focused() -> str:
            return page.run("return document.activeElement.id")  # type: ignore[no-any-return]

        assert focused() == "question"
        assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.type("Count", Keys.SHIFT, Keys.ENTER, Keys.NULL, "to two!", Keys.ENTER)
        page.shows("One", "running")
        assert page.turns()[0][0] == "Count\nto two!"
        # One may type on meanwhile; Enter waits until the answer is there.
        page.type("In Spanish!", Keys.ENTER)
        for gate in gates:
            gate.set()
        page.shows("One two", "done")
        assert len(page.turns()) == 1
        page.type(Keys.ENTER)
        page.shows("Uno", "running")
        page.type(Keys.ESCAPE)
        page.shows("Uno", "stopped", "Stopped.")
        assert focused() == "question"
        page.type("In French!", Keys.ENTER)
        page.shows("Un", "running")
        page.type(Keys.TAB)
        assert focused() == "stop"
        assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.type(Keys.SPACE)
        page.shows("Un", "stopped", "Stopped.")
        assert focused() == "question", "the focus went with the button"

    def test_on_a_phone(self, server: ScriptedServer, visit: Callable[..., Page]) -> None:
        word = "Donaudampfschifffahrtsgesellschaft" * 8
        server.play(answer(chat_chunks([word, " and on" * 400])))
        page = visit()
        page.phone(360)
        page.open()
        page.ask(word)
        page.shows(word + " and on" * 400, "done")
        assert page.run("return window.innerWidth") == 360
        assert page.run("return document.documentElement.scrollWidth") == 360
        assert page.run("return document.getElementById('scroller').scrollWidth") <= 360
        # Whoever reads along is at the end, and what one needs to ask again is in sight.
        assert page.run(
            """const view = document.getElementById("scroller");
            return view.scrollHeight - view.scrollTop - view.clientHeight"""
        ) == pytest.approx(0, abs=1)
        for button in ("#send", "#new"):
            place = page.find(button).rect
            assert place["x"] >= 0
            assert place["x"] + place["width"] <= 360
            assert place["y"] >= 0
            assert place["y"] + place["height"] <= 720
            assert place["height"] >= 44

    def test_light_and_dark(self, visit: Callable[..., Page]) -> None:
        page = visit()
        colours = set()
        for scheme in ("light", "dark"):
            page.emulate(
                "setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            colours.add(page.run("return getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2

    def test_what_looks_like_markup_is_text(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        markup = "<img src=x onerror=\"document.title='taken'\"></p><script>1</script>&amp;"
        server.play(answer(chat_chunks([markup])))
        page = visit()
        page.ask(markup)
        for _ in range(2):
            page.shows(markup, "done")
            assert page.turns()[0][0] == markup
            assert page.chrome.find_elements("css selector", ".turn img, .turn script") == []
            assert page.chrome.title == "Chat"
            page.open()  # then it is the server that puts it into the page

    def test_a_new_chat(self, server: ScriptedServer, visit: Callable[..., Page]) -> None:
        events, _ = gated("The sea is")
        server.play(answer(events))
        page = visit()
        assert page.find(".greeting").is_displayed()
        page.find(".suggestion").click()
        page.shows("The", "running")
        assert page.turns()[0][0] == "Tell me about the sea"
        assert not page.find(".greeting").is_displayed()
        page.find("#new").click()
        assert eventually(lambda: not page.turns())
        assert server.connections[0].client_closed.wait(SOON)
        assert page.find(".greeting").is_displayed()

    def test_a_chat_that_was_forgotten_begins_anew(
        self, server: ScriptedServer, visit: Callable[..., Page]
    ) -> None:
        server.play(answer(chat_chunks("One")), answer(chat_chunks("Two")))
        page = visit()
        page.ask("Count!")
        page.shows("One", "done")
        page.chrome.delete_all_cookies()
        page.ask("Go on!")
        page.shows("Two", "done")
        assert "no longer knows" in page.find(".parting").text
        assert len(server.requests[1].json["messages"]) == 1

    def test_pictures(
        self, server: ScriptedServer, pictures: Path, visit: Callable[..., Page]
    ) -> None:
        """For the documentation; not part of a usual run."""
        sea = (
            "The sea covers more than two thirds of the Earth. It stores warmth in summer and "
            "gives it back in winter, carries nine tenths of the world's goods, and feeds billions."
        )
        blue = "Sunlight is made of all colours. Air scatters the blue part of it most of all, so"
        events, gates = gated(blue)
        server.play(answer(chat_chunks(sea)), answer(events))
        page = visit()
        for name, scheme, size in (
            ("flask_chat.png", "light", {"width": 860, "height": 560, "mobile": False}),
            ("flask_chat_phone.png", "dark", {"width": 360, "height": 640, "mobile": True}),
        ):
            page.emulate("setDeviceMetricsOverride", deviceScaleFactor=1, **size)
            page.emulate(
                "setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            if not page.turns():
                page.ask("Tell me about the sea")
                page.shows(sea, "done")
                page.ask("Why is the sky blue?")
                for gate in gates[:-1]:
                    gate.set()
            page.open()
            page.shows(blue, "running")
            page.chrome.save_screenshot(str(pictures / name))


# Without a page ------------------------------------------------------------------------------


class TestSite:
    @pytest.mark.parametrize("path", ["/ask", "/stop", "/new"])
    def test_takes_no_form_of_another_site(self, site: Callable[..., Flask], path: str) -> None:
        visitor = Visitor(site())
        body = '{"question": "Count!"}'
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert visitor.post(path, data=body, content_type=kind).status_code == 415
        assert visitor.post(path, json=["question"]).status_code == 400

    def test_a_conversation_is_its_browsers_own(
        self, server: ScriptedServer, site: Callable[..., Flask]
    ) -> None:
        server.play(answer(chat_chunks("One")))
        app = site()
        mine, other = Visitor(app), Visitor(app)
        reply = mine.post("/ask", json={"question": "Count!"})
        cookie = SimpleCookie(reply.headers["Set-Cookie"])[COOKIE]
        assert len(cookie.value) >= 32
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert told(mine.get("/answers/0").text) == ("One", *DONE)
        assert other.get("/answers/0").status_code == 404
        assert mine.get("/answers/1").status_code == 404
        assert "Count!" not in other.get("/").text
        assert "Count!" in mine.get("/").text

    def test_answers_are_read_by_many_at_their_own_pace(
        self, server: ScriptedServer, serve: Callable[..., str]
    ) -> None:
        """Eight conversations at once, each read twice, over real connections."""
        url = serve()
        server.always(lambda asked: answer(chat_chunks(asked.json["messages"][0]["content"])))
        failures: list[object] = []

        def converse(number: int) -> None:
            words = " ".join(f"{number}.{word}" for word in range(50))
            with requests.Session() as session:
                session.headers["Connection"] = "close"
                session.post(f"{url}ask", json={"question": words}, timeout=SOON)
                for _ in range(2):
                    found = told(session.get(f"{url}answers/0", timeout=SOON).text)
                    if found != (words, *DONE):
                        failures.append(found)

        threads = [threading.Thread(target=converse, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(server.requests) == 8

    def test_one_question_at_a_time(
        self, server: ScriptedServer, site: Callable[..., Flask]
    ) -> None:
        events, gates = gated("One")
        server.play(answer(events))
        visitor = Visitor(site())
        visitor.post("/ask", json={"question": "Count!"})
        refused = visitor.post("/ask", json={"question": "Again!"})
        assert refused.status_code == 409
        assert "Stop it" in refused.get_json()["error"]
        gates[0].set()
        assert told(visitor.get("/answers/0").text) == ("One", *DONE)

    def test_what_is_no_question(self, site: Callable[..., Flask]) -> None:
        visitor = Visitor(site())
        for body, status in (({}, 400), ({"question": " "}, 400), ({"question": 1}, 400)):
            assert visitor.post("/ask", json=body).status_code == status
        assert visitor.post("/ask", json={"question": "x" * 20_001}).status_code == 413
        assert visitor.post("/ask", json={"question": "x" * 200_000}).status_code == 413
        assert visitor.get("/nothing").get_json()["error"]

    def test_a_conversation_is_forgotten_after_a_while(
        self, server: ScriptedServer, site: Callable[..., Flask]
    ) -> None:
        server.play(answer(chat_chunks("One")), answer(chat_chunks("Two")))
        visitor = Visitor(site(keep=0))
        begun = {"known": False, "number": 0}
        assert visitor.post("/ask", json={"question": "Count!"}).get_json() == begun
        assert visitor.get("/answers/0").status_code == 404
        assert visitor.post("/ask", json={"question": "Go on!"}).get_json() == begun

    def test_an_answer_that_nobody_reads_is_stopped(
        self, server: ScriptedServer, site: Callable[..., Flask]
    ) -> None:
        events, _ = gated("One")
        server.play(answer(events))
        visitor = Visitor(site(grace=0.05))
        visitor.post("/ask", json={"question": "Count!"})
        assert server.wait_for_connections(1)[0].client_closed.wait(SOON)

    def test_no_server(self) -> None:
        with refused_url() as url, Client(base_url=url, max_retries=0) as client:
            app = create_app(client, "gpt-6-luna")
            with closing(app.extensions["conversations"]):
                visitor = Visitor(app)
                visitor.post("/ask", json={"question": "Count!"})
                stream = visitor.get("/answers/0").text
        _, event, data = told(stream)
        assert (event, data["type"]) == ("failed", "APIConnectionError")
        assert data["text"] == "The model's server cannot be reached. Try again in a moment."
        assert url not in stream

    @pytest.mark.parametrize(
        ("status", "code", "words"),
        [
            (400, None, "refused the question"),
            (400, "context_length_exceeded", "too long for the model"),
            (403, None, "key"),
            (404, None, "does not have the model"),
            (429, "insufficient_quota", "nothing left"),
            (429, None, "busy"),
            (503, None, "in trouble"),
        ],
    )
    def test_errors_in_words(
        self, server: ScriptedServer, status: int, code: str | None, words: str
    ) -> None:
        server.play(error_answer(status, "Secret things.", code=code))
        with (
            Client(base_url=server.base_url, max_retries=0) as client,
            pytest.raises(openai_stream.APIStatusError) as raised,
        ):
            client.create_chat_completion(model="gpt-6-luna", messages=[])
        assert words in in_words(raised.value)
        assert "Secret" not in in_words(raised.value)


class TestProgram:
    def test_takes_the_server_from_the_environment(
        self, server: ScriptedServer, launch: Launch
    ) -> None:
        server.play(answer(chat_chunks("One two")))
        process = launch("--port", "0", "--model", "m")
        assert process.stderr is not None
        address = next(
            found[0]
            for line in process.stderr
            if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
        )
        with requests.Session() as session:
            session.post(f"{address}/ask", json={"question": "Count!"}, timeout=SOON)
            stream = session.get(f"{address}/answers/0", timeout=SOON).text
            elsewhere = session.get(address, headers={"Host": "a.test"}, timeout=SOON)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=SOON)
        assert told(stream) == ("One two", *DONE)
        assert elsewhere.status_code == 400
        assert server.requests[0].json["model"] == "m"
        assert "Traceback" not in complaints
        assert process.returncode == 0

    def test_says_what_is_missing(self, launch: Launch) -> None:
        process = launch(OPENAI_BASE_URL="")
        _, complaints = process.communicate(timeout=SOON)
        assert complaints.startswith("error: no API key")
        assert process.returncode == 1
