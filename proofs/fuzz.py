"""Fuzzing: bytes that a coverage-guided fuzzer makes up, an hour of them, and no promise broken.

``make fuzz``, or ``python -m proofs.fuzz [--seconds 3600] [--folder .fuzz] [TARGET …]``. What is
fuzzed, and what must hold, is in :mod:`proofs.fuzz_targets`. Each target has its share of the time,
one after another, in a process of its own: `atheris <https://github.com/google/atheris>`_ ends a
process in a way of its own.

The folder keeps what was found to be interesting, so that the next run goes on from there, and
what went wrong (``crash-…``, ``timeout-…``, ``oom-…``). A finding is played again by
``python -m proofs.fuzz --play TARGET FILE``, without the fuzzer.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parent.parent
#: Seconds that one input may take: it takes a millisecond, and the machine may be busy.
_HANG = 20
_MOST_MEMORY = 1024  # MiB
_LONGEST = 1024  # bytes of an input

_RUNS = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")


class Result(NamedTuple):
    """What a target's share of the time has brought."""

    target: str
    runs: int
    seconds: float
    edges: int
    findings: list[Path]
    #: The fuzzer's last words, where it did not end well.
    words: str

    @property
    def good(self) -> bool:
        """It ran, to the end, and found nothing."""
        return self.runs > 0 and not self.findings and not self.words


def fuzz(target: str, seconds: int, folder: Path) -> Result:
    """Fuzz a target in a process of its own."""
    from proofs import fuzz_targets  # noqa: PLC0415 - see _run

    corpus, findings = folder / "corpus" / target, folder / "findings" / target
    for each in (corpus, findings):
        each.mkdir(parents=True, exist_ok=True)
    for seed in fuzz_targets.seeds(target):
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in fuzz_targets.TOKENS))
    old = set(findings.iterdir())
    start = time.monotonic()
    command = [
        *(sys.executable, "-m", "proofs.fuzz", "--run", target),
        f"-max_total_time={seconds}",
        f"-timeout={_HANG}",
        f"-rss_limit_mb={_MOST_MEMORY}",
        f"-max_len={_LONGEST}",
        f"-dict={words}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        str(corpus),
    ]
    with (folder / f"{target}.log").open("w+b") as log:
        status = subprocess.run(  # noqa: S603
            command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
        log.seek(0)
        told = log.read().decode(errors="replace")
    runs = _RUNS.search(told)
    return Result(
        target,
        int(runs[1]) if runs else 0,
        time.monotonic() - start,
        max(map(int, _COVERED.findall(told)), default=0),
        sorted(set(findings.iterdir()) - old),
        "" if status == 0 else told[-4000:],
    )


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _run(target: str, arguments: list[str]) -> None:
    """What happens in the process of one target."""
    import atheris  # noqa: PLC0415 - nothing else needs it

    # It sees where a module goes only if it was there when that was imported.
    with atheris.instrument_imports(include=["openai_stream", "sseclient"]):
        from proofs import fuzz_targets  # noqa: PLC0415

    atheris.Setup([sys.argv[0], *arguments], fuzz_targets.TARGETS[target])
    atheris.Fuzz()


def _play(target: str, file: str) -> None:
    from proofs import fuzz_targets  # noqa: PLC0415 - see _run

    fuzz_targets.TARGETS[target](Path(file).read_bytes())


def _versions() -> str:
    names = ("atheris", "requests", "urllib3", "sseclient-py", "attrs")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return f"Python {platform.python_version()} on {platform.machine()}, {', '.join(versions)}"


def main() -> int:
    """Fuzz all targets; 1 where something was found."""
    if sys.argv[1:2] == ["--run"]:
        _run(sys.argv[2], sys.argv[3:])
        return 0
    from proofs.fuzz_targets import TARGETS  # noqa: PLC0415 - see _run

    parser = argparse.ArgumentParser(prog="python -m proofs.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=3600, help="for all targets together")
    parser.add_argument("--folder", type=Path, default=_ROOT / ".fuzz")
    parser.add_argument("--play", nargs=2, metavar=("TARGET", "FILE"), help="a finding, once")
    given = parser.parse_args()
    if given.play:
        _play(*given.play)
        return 0
    targets = given.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")

    print(_versions(), flush=True)
    results = []
    for target in targets:
        result = fuzz(target, max(1, given.seconds // len(targets)), given.folder.resolve())
        results.append(result)
        print(
            f"{target:8} {result.runs:10,} runs  {result.seconds:6.0f} s  {result.edges:5} edges  "
            f"{len(result.findings)} findings",
            flush=True,
        )
        for finding in result.findings:
            print(f"  python -m proofs.fuzz --play {target} {finding}")
        if result.words:
            print(result.words)
    print(
        f"{sum(one.runs for one in results):,} runs in {sum(one.seconds for one in results):.0f} s,"
        f" {sum(one.edges for one in results)} edges, "
        f"{sum(len(one.findings) for one in results)} findings"
    )
    return 0 if all(one.good for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
