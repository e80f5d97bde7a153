"""``python -m benchmarks [--quick] [topic ...]``; ``make bench`` makes the environments for it."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from . import report
from .arena import Arena, tell
from .report import Findings
from .server import ServerProcess
from .worker import ROOT

TOPICS = (
    "paced",
    "cpu",
    "call",
    "latency",
    "first_event",
    "growth",
    "streams",
    "stop",
    "footprint",
)
PACKAGES = ("openai", "httpx-sse", "requests", "sseclient-py", "urllib3")
PLOT = "benchmarks.svg"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure openai-stream beside what a user would pick instead.",
        epilog="A full run of all topics writes its findings to the docs and the README.",
    )
    parser.add_argument("topics", nargs="*", help=f"of {', '.join(TOPICS)}; all")
    parser.add_argument("--quick", action="store_true", help="rough figures, in a few minutes")
    parser.add_argument("--litellm", metavar="PYTHON", help="an interpreter that has litellm")
    parser.add_argument(
        "--write", metavar="FOLDER", type=Path, help="write the page and the plot there"
    )
    options = parser.parse_args()
    if unknown := set(options.topics) - set(TOPICS):
        parser.error(f"no topic: {', '.join(sorted(unknown))}")

    pythons = {"": sys.executable}
    if options.litellm is not None:
        pythons["bench-litellm"] = os.path.abspath(options.litellm)
    machine = _machine(pythons)
    findings = Findings()
    with ServerProcess() as server:
        arena = Arena(server, pythons, options.quick)
        for topic in options.topics or TOPICS:
            found: Findings = importlib.import_module(f"{__package__}.topics.{topic}").run(arena)
            findings.tables += found.tables
            findings.targets += found.targets
            findings.drawn.update(found.drawn)

    everything = not options.topics
    print(report.page(findings, machine, plot=None))
    folder = options.write
    if folder is None and everything and not options.quick:
        folder = ROOT / "docs"
        readme = ROOT / "README.rst"
        text = readme.read_text()
        readme.write_text(report.put_between_marks(text, report.condensed(findings, machine)))
    if folder is not None:
        _write(findings, machine, folder)
        tell(f"written to {folder}")


def _write(findings: Findings, machine: list[tuple[str, str]], folder: Path) -> None:
    from . import plot  # noqa: PLC0415 - matplotlib is wanted here alone

    folder.mkdir(parents=True, exist_ok=True)
    plot.draw(findings, folder / PLOT)
    (folder / "benchmarks.rst").write_text(report.page(findings, machine, PLOT))


def _machine(pythons: dict[str, str]) -> list[tuple[str, str]]:
    """Where it is measured, and with what."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    if "bench-litellm" in pythons:
        code = "from importlib.metadata import version as v; print(v('litellm'), 'on', v('openai'))"
        command = [pythons["bench-litellm"], "-c", code]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        litellm, _, on = told.stdout.strip().partition(" on ")
        versions.append(f"litellm {litellm} (on openai {on})")
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1] for line in cpuinfo.read_text().splitlines() if "name" in line
        ]
        processor = names[0].strip() if names else processor
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    return [
        ("date", today.isoformat()),
        ("peers", ", ".join(versions)),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("machine", f"{os.cpu_count()} CPUs, {processor}, {platform.system()}"),
    ]


if __name__ == "__main__":
    main()
