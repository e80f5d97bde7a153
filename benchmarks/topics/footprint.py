"""What a package costs before it does anything: the time of its import, the size on the disk."""

from __future__ import annotations

import json
import subprocess

from benchmarks.arena import Arena, tell
from benchmarks.report import Findings, Table, Target
from benchmarks.worker import ROOT, environment

#: The classes of an endpoint come with its first use, which is the first call otherwise.
_READY = "from openai_stream import ChatCompletion, endpoints; endpoints.CHAT_COMPLETIONS"
#: What is shown, the statement, the distribution that is installed, the environment that has it.
PACKAGES = (
    ("openai-stream", "import openai_stream", "openai-stream", ""),
    ("openai-stream, ready for a chat", _READY, "", ""),
    ("requests, sseclient-py, attrs", "import requests, sseclient, attrs", "", ""),
    ("openai", "import openai", "openai", ""),
    ("httpx-sse and httpx", "import httpx_sse", "httpx-sse httpx", ""),
    ("litellm", "import litellm", "litellm", "bench-litellm"),
)

NOTE = """\
Milliseconds of a process that imports it, from the statement's start to its end, the best of
{rounds} in turn; megabytes of all that ``pip install`` brings, without compiled bytecode."""

_IMPORT = """\
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""

# pip brings the one library that knows what a requirement's marker means.
_SIZE = """\
import importlib.metadata, importlib.util, json, pathlib, sys
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

def size(distribution):
    name = canonicalize_name(distribution.metadata["Name"])
    if name == "openai-stream":  # which may be installed as a pointer to its sources
        folder = pathlib.Path(importlib.util.find_spec("openai_stream").origin).parent
        files = [path for path in folder.rglob("*") if path.is_file()]
    else:
        files = [path.locate() for path in distribution.files or ()]
    return sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.exists())

todo, sizes = sys.argv[1:], {}
while todo:
    name = canonicalize_name(todo.pop())
    if name not in sizes:
        distribution = importlib.metadata.distribution(name)
        sizes[name] = size(distribution)
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
print(json.dumps(sizes))
"""


def run(arena: Arena) -> Findings:
    tell("import time and size")
    packages = [package for package in PACKAGES if package[3] in arena.pythons]
    rounds = arena.either(5, 25)
    took: dict[str, list[float]] = {title: [] for title, *_ in packages}
    for turn in range(rounds + 1):
        for title, statement, _, extra in packages:
            # Of one that takes seconds the best of a few will do.
            if extra and turn > arena.either(1, 5):
                continue
            told = _python(arena.pythons[extra], _IMPORT.format(statement=statement))
            if turn:
                took[title].append(float(told) * 1e3)
    best = {title: min(times) for title, times in took.items()}

    rows = []
    for title, _, distributions, extra in packages:
        size, count = "", ""
        if distributions:
            sizes = json.loads(_python(arena.pythons[extra], _SIZE, *distributions.split()))
            size, count = f"{sum(sizes.values()) / 1e6:.1f}", str(len(sizes))
        rows.append(
            [title, f"{best[title]:.0f}", f"{best['openai-stream'] / best[title]:.2f}", size, count]
        )
    dependencies = PACKAGES[2][0]
    return Findings(
        tables=[
            Table(
                "Import and installation",
                NOTE.format(rounds=rounds),
                ["", "import, ms", "ours to it", "MB", "packages"],
                rows,
            )
        ],
        targets=[
            Target(name, dependencies, 1.25, best[title] / best[dependencies])
            for name, title in (
                ("``import openai_stream``", PACKAGES[0][0]),
                ("``import openai_stream``, and what a chat needs", PACKAGES[1][0]),
            )
        ],
    )


def _python(python: str, code: str, *arguments: str) -> str:
    return subprocess.run(  # noqa: S603
        [python, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**environment(), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ).stdout
