"""The command with the real model: no key, no address, a pipe and a batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

COMMAND = [sys.executable, "-m", "openai_stream"]


@pytest.mark.limit(150)
def test_chat(real_packages: None, tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, "chat", "--local", "--stats", "-o", "max_tokens", "20", "Tell me about the sea"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) > 5
    assert "+ 20 answer = " in result.stderr
    assert "cut short" in result.stderr


@pytest.mark.limit(150)
def test_batch(real_packages: None, tmp_path: Path) -> None:
    prompts = [{"id": n, "prompt": f"Tell me about {n}", "max_tokens": 5} for n in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in prompts))
    result = subprocess.run(
        [*COMMAND, "batch", "--local", "prompts.jsonl", "-o", "answers.jsonl"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert sorted(record["custom_id"] for record in records) == list(range(6))
    for record in records:
        assert record["response"]["body"]["usage"]["completion_tokens"] == 5
