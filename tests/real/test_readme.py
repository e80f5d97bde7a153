"""The README's first example, word for word, with a real model in OpenAI's place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from openai_stream.local import LocalServer

README = Path(__file__).parents[2] / "README.rst"


def first_example() -> str:
    """The README's first Python block."""
    block = README.read_text(encoding="utf-8").split(".. code-block:: python\n")[1]
    lines = block.lstrip("\n").splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if line.strip() and line[0] != " ")
    return textwrap.dedent("".join(lines[:end]))


@pytest.mark.limit(180)
def test_first_example(local_server: LocalServer) -> None:
    environment = {**os.environ, "OPENAI_BASE_URL": local_server.base_url}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", first_example()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # Both options at the same time, so one prints between the other's lines.
    chunks = re.findall(r"ChatCompletionChunk\(.*", done.stdout)
    assert len(chunks) > 2
    assert "finish_reason='stop'" in chunks[-1] or "finish_reason='length'" in chunks[-1]
    assert re.sub(r"ChatCompletionChunk\(.*", "", done.stdout).strip()
