"""The files of a command: none is lost, whatever name, link or stream is given for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from batches import answered, echo
from processes import COMMAND, PATIENCE, SHELL

from openai_stream.recordings import read_recording
from openai_stream.testing import (
    Hang,
    Request,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    refused_url,
)

PROMPTS = '"one"\n"two"\n'
PAID = '{"custom_id": "old", "response": {"body": {}}, "error": null}\n'
KEPT = '{"openai_stream_recording":1,"library":"0"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Prompts, paid answers, a good recording and a model, each with links to it."""
    (tmp_path / "sub").mkdir()
    for name, text in (
        ("p.jsonl", PROMPTS), ("a.jsonl", PAID), ("good.rec", KEPT), ("model.gguf", "GGUF"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        (tmp_path / f"link-to-{name}").symlink_to(name)
        (tmp_path / f"hard-{name}").hardlink_to(tmp_path / name)
    (tmp_path / "link-to-new").symlink_to("new")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


# Pairs of files that are the same ------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "ask batch p.jsonl -o p.jsonl",
        "ask batch p.jsonl -o ./sub/../p.jsonl",
        "ask batch p.jsonl -o link-to-p.jsonl",
        "ask batch link-to-p.jsonl -o hard-p.jsonl",
        "ask batch - -o p.jsonl < p.jsonl",
        "ask batch /dev/stdin -o p.jsonl < p.jsonl",
        "ask batch /dev/fd/5 -o p.jsonl 5< p.jsonl",
        "ask batch p.jsonl -o - >> p.jsonl",
        "ask batch p.jsonl -o /dev/fd/6 6>> p.jsonl",
        "ask batch p.jsonl -o a.jsonl 2>> a.jsonl",
        "ask record p.jsonl batch p.jsonl -o a.jsonl",
        "ask record hard-p.jsonl batch p.jsonl -o a.jsonl",
        "ask record a.jsonl batch p.jsonl -o a.jsonl",
        "ask record link-to-a.jsonl batch p.jsonl -o hard-a.jsonl",
        "ask record new batch p.jsonl -o new",
        "ask record new batch p.jsonl -o sub/../new",
        "ask record new batch p.jsonl -o link-to-new",
        "ask record - batch p.jsonl -o - | cat",
        "ask record - batch p.jsonl -o /dev/stdout | cat",
        "ask record good.rec chat < good.rec",
        "ask record good.rec chat hi >> good.rec",
        "ask record - chat hi",
        "ask record /dev/stdout chat hi",
        "ask record /dev/fd/1 chat hi",
        "ask record model.gguf chat --local -m model.gguf hi",
        "ask record model.gguf batch --local -m hard-model.gguf p.jsonl -o new",
    ],
)
def test_refuses_one_file_for_two(
    server: ScriptedServer, shell: SHELL, folder: Path, line: str
) -> None:
    before = contents(folder)
    result = shell(f"set -o pipefail; {line}")
    assert result.returncode == 2
    after = contents(folder)
    said = result.stderr + after["a.jsonl"].removeprefix(PAID)
    assert "are the same file" in said
    assert "Traceback" not in said
    if "2>>" not in line:
        assert after == before
    assert after["a.jsonl"].startswith(PAID)
    assert server.connections == []


@pytest.mark.parametrize(
    "line",
    [
        "ask record /dev/null batch p.jsonl -o /dev/null",
        "cat p.jsonl | ask batch - -o - | cat",
        "ask batch p.jsonl -o - 2>&1 | cat",
        "ask batch p.jsonl -o new > /dev/null 2>&1",
        "ask record new batch p.jsonl -o sub/new",
        "ask chat < p.jsonl >> p.jsonl",
    ],
)
def test_takes_streams_and_files_that_differ(
    server: ScriptedServer, shell: SHELL, folder: Path, line: str
) -> None:
    server.always(echo)
    result = shell(f"set -o pipefail; {line}")
    assert (result.returncode, "same file" in result.stderr) == (0, False)


# Recordings ----------------------------------------------------------------------------------


def test_keeps_a_good_recording_until_there_is_an_answer(shell: SHELL, folder: Path) -> None:
    before = contents(folder)
    with refused_url() as url:
        result = shell("ask record link-to-good.rec chat hi", OPENAI_BASE_URL=url)
    assert result.returncode == 1
    assert "Connection refused" in result.stderr
    assert contents(folder) == before


def test_replaces_a_recording_by_an_answer(
    server: ScriptedServer, shell: SHELL, folder: Path
) -> None:
    """Through links too, and what a server says when it says no is something to keep."""
    (folder / "good.rec").chmod(0o640)
    server.play(answer(chat_chunks("Hello")), error_answer(400, "not so"))
    assert shell("ask record link-to-good.rec chat hi").returncode == 0
    (exchange,) = read_recording(folder / "good.rec")
    assert b"Hello" in exchange.data
    assert (folder / "good.rec").stat().st_mode & 0o777 == 0o640
    assert shell("ask record link-to-good.rec chat hi").returncode == 1
    (exchange,) = read_recording(folder / "hard-good.rec")
    assert b"not so" in exchange.data


def test_refuses_a_recording_that_is_being_made(
    server: ScriptedServer, shell: SHELL, environment: dict[str, str], folder: Path
) -> None:
    server.play(answer([*chat_chunks("Hello")[:2], Hang()]))
    with subprocess.Popen(
        [*COMMAND, "record", "good.rec", "chat", "hi"],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.read(5) == b"Hello"
        result = shell("ask record hard-good.rec chat hi")
        process.send_signal(signal.SIGINT)
    assert (result.returncode, len(server.requests)) == (1, 1)
    assert "hard-good.rec: another recorder writes to it" in result.stderr
    (exchange,) = read_recording(folder / "good.rec")
    assert b"Hello" in exchange.data


@pytest.mark.parametrize("place", [">(cat > new)", "- > new", "/dev/fd/7 7> new"])
def test_records_into_a_stream(
    server: ScriptedServer, shell: SHELL, folder: Path, place: str
) -> None:
    server.always(echo)
    line = f"ask record {place} batch p.jsonl -o answers; sleep 0.1; wait"
    assert "2 answers" in shell(line).stderr
    assert len(read_recording(folder / "new")) == 2


# Answers -------------------------------------------------------------------------------------


def test_leaves_a_temporary_file_of_others_alone(
    server: ScriptedServer, shell: SHELL, folder: Path
) -> None:
    """The answers are put in order through a file of their own, which does not stay."""
    server.always(echo)
    (folder / "a.jsonl.tmp").symlink_to("p.jsonl")
    with (folder / "a.jsonl").open("a") as file:
        file.write('{"custom_id": "torn')
    assert shell("ask batch p.jsonl -o a.jsonl").returncode == 0
    assert (folder / "p.jsonl").read_text() == PROMPTS
    assert (folder / "a.jsonl").read_text().startswith(PAID)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_removes_its_temporary_file_when_the_disk_is_full(shell: SHELL, folder: Path) -> None:
    answers = PAID * 1000  # each but the first is to be dropped
    other = "".join(PAID.replace("old", str(n)) for n in range(1000))
    (folder / "a.jsonl").write_text(answers + other)
    # What measures coverage has a file of its own, which would be too large as well.
    unmeasured = "unset COVERAGE_PROCESS_CONFIG COVERAGE_PROCESS_START"
    result = shell(f"{unmeasured}; ulimit -f 8; ask batch p.jsonl -o a.jsonl")
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert (folder / "a.jsonl").read_text() == answers + other
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_says_which_file_is_full(server: ScriptedServer, shell: SHELL, folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    server.always(echo)
    result = shell("ask batch p.jsonl -o /dev/full")
    assert result.returncode == 1
    assert "/dev/full: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "ask batch p.jsonl -o - > new",
        "ask batch p.jsonl -o /dev/stdout > new",
        "ask batch p.jsonl -o - | cat > new",
        "ask batch p.jsonl -o /dev/stdout | cat > new",
        "mkfifo pipe; cat pipe > new & ask batch p.jsonl -o pipe; wait",
        "ask batch p.jsonl -o >(cat > new); sleep 0.1; wait",
        "ask batch p.jsonl -o /dev/fd/9 9> new",
        "ask batch <(cat p.jsonl) -o new",
        "ask batch - -o new < p.jsonl",
    ],
)
def test_writes_into_streams(server: ScriptedServer, shell: SHELL, folder: Path, line: str) -> None:
    server.always(echo)
    result = shell(line)
    assert "2 answers, 0 failures" in result.stderr
    assert answered((folder / "new").read_text()) == ["answer to one", "answer to two"]
    assert not (folder / "-").exists()


def test_appends_to_what_standard_output_is(
    server: ScriptedServer, shell: SHELL, folder: Path
) -> None:
    """It is the shell's file, at the shell's position, and not opened anew."""
    server.always(echo)
    (folder / "log").write_text("before\n")
    assert shell("ask batch p.jsonl -o - >> log; echo after >> log").returncode == 0
    lines = (folder / "log").read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("before", "after", 4)


def test_writes_into_a_socket(
    server: ScriptedServer, environment: dict[str, str], folder: Path
) -> None:
    """What starts a program may give it one as its standard output; it cannot be opened by name."""
    import socket  # noqa: PLC0415

    server.always(echo)
    ours, its = socket.socketpair()
    with ours, its:
        process = subprocess.run(
            [*COMMAND, "batch", "p.jsonl", "-o", "-"],
            cwd=folder, env=environment, stdout=its.fileno(), timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert process.returncode == 0
        its.shutdown(socket.SHUT_WR)
        text = b""
        while data := ours.recv(65536):
            text += data
    assert answered(text.decode()) == ["answer to one", "answer to two"]


def test_ends_when_its_reader_has_gone(server: ScriptedServer, shell: SHELL, folder: Path) -> None:
    server.always(echo)
    result = shell('ask batch p.jsonl -c 1 -o - | true; echo "${PIPESTATUS[0]}"')
    assert result.stdout == "141\n"
    assert "Traceback" not in result.stderr


def test_refuses_a_standard_input_that_is_closed(shell: SHELL, folder: Path) -> None:
    result = shell("ask batch - -o a.jsonl <&-")
    assert (result.returncode, result.stderr) == (2, "Error: standard input is closed\n")


def test_names_the_stream_that_is_full(server: ScriptedServer, shell: SHELL, folder: Path) -> None:
    server.always(echo)
    result = shell("ask batch p.jsonl -o - >/dev/full")
    assert "Error: -: No space left on device" in result.stderr


def test_refuses_a_standard_output_that_is_closed(shell: SHELL, folder: Path) -> None:
    result = shell("ask batch p.jsonl -o - >&-")
    assert result.returncode == 1
    assert "it is closed" in result.stderr


def test_lets_two_runs_write_to_one_device(
    server: ScriptedServer, shell: SHELL, folder: Path
) -> None:
    """A lock is for files of answers: what goes to ``/dev/null`` disturbs nobody."""
    server.always(echo)
    line = "ask batch p.jsonl -o /dev/null & ask batch p.jsonl -o /dev/null; wait"
    assert shell(line).stderr.count("2 answers, 0 failures") == 2


# Prompts -------------------------------------------------------------------------------------


def numbered(count: int) -> list[str]:
    return [json.dumps({"id": n, "prompt": f"question {n}"}) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("place", "name"), [("many.jsonl", "many.jsonl"), ("- < many.jsonl", "standard input")]
)
def test_finds_a_repeated_id_before_the_first_request(
    server: ScriptedServer, shell: SHELL, folder: Path, place: str, name: str
) -> None:
    lines = numbered(60)
    lines[59] = json.dumps({"custom_id": 1, "prompt": "again"})
    (folder / "many.jsonl").write_text("\n".join(lines))
    result = shell(f"ask batch -o new {place}")
    assert (result.returncode, server.connections) == (2, [])
    assert f"{name}, line 60: the id 1 is that of line 1 already" in result.stderr


def test_keeps_what_was_asked_when_a_pipe_repeats_an_id(
    server: ScriptedServer, environment: dict[str, str], folder: Path
) -> None:
    """It cannot be known before; so what runs is waited for, and nothing more is taken."""
    go = threading.Event()

    def late(request: Request) -> Script:
        go.wait(PATIENCE)
        return echo(request)

    server.always(late)
    with subprocess.Popen(
        [*COMMAND, "batch", "-", "-o", "new"],
        cwd=folder, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write("\n".join(numbered(2)) + "\n")
        process.stdin.flush()
        server.wait_for_requests(2, PATIENCE)
        process.stdin.write('{"id": 2, "prompt": "again"}\n{"id": 3, "prompt": "never"}\n')
        process.stdin.close()
        go.set()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 2
    assert "standard input, line 3: the id 2 is that of line 2 already" in said
    assert "2 answers" in said
    assert answered((folder / "new").read_text()) == [
        "answer to question 1",
        "answer to question 2",
    ]
    assert len(server.requests) == 2


def test_goes_on_where_another_program_has_read_to(
    server: ScriptedServer, shell: SHELL, folder: Path
) -> None:
    server.always(echo)
    reads = f"{sys.executable} -c 'import os; os.read(0, 6)'"
    assert shell(f"({reads}; ask batch - -o new) < p.jsonl").returncode == 0
    assert answered((folder / "new").read_text()) == ["answer to two"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + PROMPTS.encode(),
        PROMPTS.replace("\n", "\r\n").encode(),
        b"\n\n" + PROMPTS.encode() + b"\n \n",
        PROMPTS.rstrip().encode(),
    ],
    ids=["byte-order mark", "Windows line ends", "empty lines", "no last line end"],
)
def test_reads_prompts_of_every_editor(
    server: ScriptedServer, shell: SHELL, folder: Path, data: bytes
) -> None:
    server.always(echo)
    (folder / "p.jsonl").write_bytes(data)
    assert shell("ask batch p.jsonl -o new").returncode == 0
    assert answered((folder / "new").read_text()) == ["answer to one", "answer to two"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_says_that_prompts_are_in_utf_16(
    server: ScriptedServer, shell: SHELL, folder: Path, encoding: str
) -> None:
    """As PowerShell's ``>`` writes them."""
    mark = "\ufeff" if encoding.endswith("be") else ""
    (folder / "p.jsonl").write_bytes((mark + PROMPTS).encode(encoding))
    result = shell("ask batch p.jsonl -o new")
    assert (result.returncode, server.connections) == (2, [])
    assert "p.jsonl: this is UTF-16, and must be UTF-8" in result.stderr


# Options that would take the place of each other ---------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ask chat -o messages '[]' hi", "--option messages does not go with the prompt"),
        ("echo hi | ask chat -o messages '[]'", "--option messages does not go with the prompt"),
        ("ask complete -o prompt x hi", "--option prompt does not go with the prompt"),
        ("ask respond -o input x hi", "--option input does not go with the prompt"),
        (
            "ask respond -o instructions x -s y hi",
            "--option instructions does not go with --system",
        ),
        ("ask chat -o model x -m y hi", "--option model does not go with --model"),
        (
            "ask record new chat -o messages '[]' hi",
            "--option messages does not go with the prompt",
        ),
        ("ask batch p.jsonl -o new --option messages '[]'", "--option messages does not go with"),
        ("ask batch p.jsonl -o new --option prompt x", "--option prompt does not go with"),
        ("ask batch p.jsonl -o new --option model x -m y", "--option model does not go with"),
    ],
)
def test_refuses_an_option_that_replaces_another(
    server: ScriptedServer, shell: SHELL, folder: Path, line: str, said: str
) -> None:
    result = shell(line)
    assert (result.returncode, server.connections) == (2, [])
    assert said in result.stderr
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("ask chat -o model x hi", {"model": "x"}),
        ("ask chat -o prompt x hi", {"prompt": "x"}),
        ("ask chat -o input x -s y hi", {"input": "x"}),
        ("ask respond -o instructions x hi", {"instructions": "x"}),
        ("ask batch p.jsonl -o new --option input x", {"input": "x"}),
    ],
)
def test_takes_an_option_that_replaces_nothing(
    server: ScriptedServer, shell: SHELL, folder: Path, line: str, body: dict[str, str]
) -> None:
    server.always(error_answer(400, "seen"))
    shell(line)
    assert server.requests[0].json.items() >= body.items()


@pytest.mark.parametrize(
    ("line", "env", "said"),
    [
        ("ask chat --base-url foo hi", {}, "--base-url (or OPENAI_BASE_URL) must be a URL"),
        ("ask chat --azure -m m hi", {"AZURE_OPENAI_ENDPOINT": ""}, "or give --base-url https"),
        ("ask chat --azure -m m --base-url foo hi", {}, "AZURE_OPENAI_ENDPOINT) must be a URL"),
        ("ask chat --local -m none.gguf hi", {}, "Error: --model: cannot read"),
        ("ask chat hi", {"OPENAI_API_KEY": "a\nb"}, "the API key of the environment has a line"),
        ("ask chat hi", {"OPENAI_ORG_ID": "a\nb"}, "OPENAI_ORG_ID has a line break"),
        ("ask chat --base-url http://a:b@c hi", {}, "give the key in the environment"),
    ],
)
def test_speaks_of_options(shell: SHELL, line: str, env: dict[str, str], said: str) -> None:
    """And of variables, instead of the arguments of a Python call."""
    if "--local" in line:
        pytest.importorskip("xllamacpp")
    result = shell(line, **env)
    assert result.returncode == 2
    assert said in result.stderr
    for name in ("base_url", "endpoint=", "api_key", "headers=", "model_path"):
        assert name not in result.stderr
