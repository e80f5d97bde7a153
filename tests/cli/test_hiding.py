"""The key shows in nothing that the command prints or writes, whatever the server quotes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_places import KEY, places
from test_secrets import QUOTES, SOME

from openai_stream.testing import Fin, ScriptedServer

RUN = Callable[..., "subprocess.CompletedProcess[str]"]
KEYS = {"OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY}


#: Of one prompt; others, a wrong key say, end the batch.
FAILURES = ["name of a field", "text with escapes", "deep in the body", "size of a chunk", "gzip"]
FAILURES += ["event", "data that is not UTF-8", "error in the stream", "frame that is cut"]


@pytest.mark.parametrize("quote", SOME)
def test_prints_no_key(server: ScriptedServer, run: RUN, quote: str) -> None:
    server.always([*QUOTES[quote], Fin()])
    result = run("chat", "--json", "Why?", **KEYS)
    assert result.returncode
    assert result.stderr
    assert not places(out=result.stdout, err=result.stderr)


def test_writes_no_key(server: ScriptedServer, run: RUN, tmp_path: Path) -> None:
    """Failures of a batch, with its recording."""
    scripts = [[*QUOTES[quote], Fin()] for quote in FAILURES]
    server.play(*scripts)
    prompts = "".join(json.dumps({"prompt": str(n)}) + "\n" for n in range(len(scripts)))
    (tmp_path / "prompts.jsonl").write_text(prompts)
    arguments = ["batch", "prompts.jsonl", "-o", "answers.jsonl", "-c", "1", "--retries", "0"]
    result = run("record", "batch.rec", *arguments, **KEYS)
    answers = (tmp_path / "answers.jsonl").read_bytes()
    recording = (tmp_path / "batch.rec").read_bytes()
    assert answers.count(b"error") >= len(scripts), result.stderr
    assert recording.count(b"request") >= len(scripts)
    texts = {"out": result.stdout, "err": result.stderr}
    assert not places(**texts, answers=answers, recording=recording)


@pytest.mark.limit(120)
def test_tells_dask_no_key(server: ScriptedServer, run: RUN, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    server.always([*QUOTES["name of a field"], Fin()])
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "1"}\n{"prompt": "2"}\n')
    result = run(
        "batch", "prompts.jsonl", "-o", "answers.jsonl", "--dask", "local",
        **KEYS, DASK_DISTRIBUTED__LOGGING__DISTRIBUTED="debug",
    )  # fmt: skip
    answers = (tmp_path / "answers.jsonl").read_bytes()
    assert answers.count(b"error") >= 2, result.stderr
    assert not places(out=result.stdout, err=result.stderr, answers=answers)
