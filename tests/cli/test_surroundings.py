"""The command and the library in the surroundings of other people's machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from batches import answered, echo
from processes import COMMAND, PATIENCE, SHELL, Terminal

import openai_stream
from openai_stream.testing import ScriptedServer, answer, chat_chunks

PACKAGE = Path(openai_stream.__file__).parent
#: A program of a user's: it streams, and fails loudly.
PROGRAM = """
import openai_stream
events = openai_stream.create_chat_completion(model="m", messages=[], stream=True)
print("".join(events.text()), events.stream.result().choices[0].finish_reason)
try:
    openai_stream.create_chat_completion(model="m", messages=[], maxsize=5)
except TypeError:
    print("refused")
"""


def python(
    environment: dict[str, str], *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env={**environment, **env}, capture_output=True, encoding="utf-8",
        timeout=PATIENCE, check=False,
    )  # fmt: skip


# Interpreters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [("-O",), ("-OO",), ("-X", "dev", "-W", "error"), ("-X", "utf8=0"), ("-B", "-u"), ("-E", "-s")],
    ids=" ".join,
)
def test_streams_whatever_the_interpreter_is_told(
    server: ScriptedServer, environment: dict[str, str], options: tuple[str, ...]
) -> None:
    """No assert and no docstring is needed, and nothing warns."""
    server.always(answer(chat_chunks("Hello")))
    # -E passes over PYTHONPATH, which these tests may have been started with.
    path = f"import sys; sys.path[:0] = {sys.path!r}\n" if "-E" in options else ""
    result = python(environment, *options, "-c", path + PROGRAM)
    assert (result.stdout, result.stderr) == ("Hello stop\nrefused\n", "")


@pytest.mark.parametrize("folder", ["in a folder", "dåtä ✓", "app.zip"])
def test_streams_from_wherever_it_lies(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path, folder: str
) -> None:
    """Also out of an archive: nothing looks for a file beside it."""
    server.always(answer(chat_chunks("Hello")))
    place = tmp_path / folder
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for module in PACKAGE.rglob("*.py"):
            archive.write(module, module.relative_to(PACKAGE.parent))
        if folder.endswith(".zip"):
            archive.close()
            (tmp_path / "all.zip").rename(place)
    if place.suffix != ".zip":
        with zipfile.ZipFile(tmp_path / "all.zip") as archive:
            archive.extractall(place)
    where = "import openai_stream; print(openai_stream.__file__)"
    path = os.pathsep.join([str(place), *(one for one in sys.path if one)])
    result = python(environment, "-c", f"{where}\n{PROGRAM}", cwd=tmp_path, PYTHONPATH=path)
    assert result.stdout.startswith(str(place)), result.stderr
    assert result.stdout.endswith("Hello stop\nrefused\n")
    result = python(environment, "-m", "openai_stream", "chat", "hi", cwd=tmp_path, PYTHONPATH=path)
    assert (result.stdout, result.stderr) == ("Hello\n", "")


@pytest.mark.parametrize("home", ["/dev/null/nowhere", "/proc", None])
def test_needs_no_home(
    server: ScriptedServer, environment: dict[str, str], home: str | None
) -> None:
    """As in a container with a file system that is read-only: nothing is written anywhere."""
    server.always(answer(chat_chunks("Hello")))
    if home is None:
        del environment["HOME"]
    else:
        environment["HOME"] = home
    result = python(environment, "-c", PROGRAM)
    assert (result.stdout, result.stderr) == ("Hello stop\nrefused\n", "")


def test_passes_over_a_netrc_that_is_a_folder(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    server.always(answer(chat_chunks("Hello")))
    (tmp_path / ".netrc").mkdir()
    result = python(environment, "-c", PROGRAM, HOME=str(tmp_path))
    assert (result.stdout, result.stderr) == ("Hello stop\nrefused\n", "")


# Encodings -----------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "LANG": "", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_shows_what_the_locale_can_show(
    server: ScriptedServer, environment: dict[str, str]
) -> None:
    """A locale that has ASCII only loses a character, not the answer; JSON loses none."""
    server.always(answer(chat_chunks("Grüße 😀")))
    ask = (*COMMAND[1:], "chat", "hi")
    result = python(environment | ASCII, *ask)
    assert (result.returncode, result.stdout, result.stderr) == (0, "Gr??e ?\n", "")
    lines = python(environment | ASCII, *ask, "--json").stdout.splitlines()
    text = "".join(
        choice["delta"].get("content") or ""
        for line in lines
        for choice in json.loads(line)["choices"]
    )
    assert text == "Grüße 😀"


def test_asks_in_utf_8_whatever_the_locale(
    server: ScriptedServer, shell: SHELL, tmp_path: Path
) -> None:
    server.always(echo)
    (tmp_path / "p.jsonl").write_text('"Grüße 😀"\n', encoding="utf-8")
    result = shell("ask batch p.jsonl -o new; ask chat < p.jsonl > said", **ASCII)
    assert "1 answer, 0 failures" in result.stderr
    assert answered((tmp_path / "new").read_text(encoding="utf-8")) == ["answer to Grüße 😀"]
    assert server.requests[1].json["messages"][0]["content"] == '"Grüße 😀"'


def test_takes_a_line_of_any_size(server: ScriptedServer, shell: SHELL, tmp_path: Path) -> None:
    server.always(lambda request: answer(chat_chunks(str(len(request.body)))))
    (tmp_path / "p.jsonl").write_text(json.dumps("x" * 5_000_000) + "\n" + '"short"\n')
    assert shell("cat p.jsonl | ask batch - -o new").returncode == 0
    sizes = sorted(int(text) for text in answered((tmp_path / "new").read_text()))
    assert sizes[0] < 1000
    assert sizes[1] > 5_000_000


# Terminals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["chat", "batch"])
def test_sends_no_escape_sequences_to_a_dumb_terminal(
    server: ScriptedServer, terminal: Callable[..., Terminal], tmp_path: Path, command: str
) -> None:
    server.always(echo)
    (tmp_path / "p.jsonl").write_text('"one"\n')
    arguments = {"chat": ("chat", "--stats", "hi"), "batch": ("batch", "p.jsonl", "-o", "new")}
    shown = terminal(*arguments[command], TERM="dumb")
    assert shown.end() == 0
    assert "\x1b" not in shown.shown


@pytest.mark.parametrize("limit", ["-n 24", "-n 40"])
def test_says_that_there_are_no_descriptors(
    server: ScriptedServer, shell: SHELL, tmp_path: Path, limit: str
) -> None:
    """Each prompt is asked in the end, or fails with words; nothing hangs or is lost."""
    server.always(echo)
    (tmp_path / "p.jsonl").write_text("".join(f'"{n}"\n' for n in range(60)))
    result = shell(f"ulimit {limit}; ask batch p.jsonl -o new -c 50 --retries 2")
    assert result.returncode in (0, 4), result.stderr
    assert "Traceback" not in result.stderr
    records = [json.loads(line) for line in (tmp_path / "new").read_text().splitlines()]
    assert len({record["custom_id"] for record in records}) == 60
    for record in records:
        assert record["error"] is None or "Too many open files" in record["error"]["message"]
