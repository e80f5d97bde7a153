"""Draw ``make demo`` at work, from a real run: ``make pictures``."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"


def main() -> None:
    run = ["make", "--no-print-directory", "demo"]
    subprocess.run([*run, "PROMPT=Hello"], cwd=ROOT, check=True, capture_output=True)  # noqa: S603
    shown = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    console = Console(record=True, width=88, file=io.StringIO())
    console.print(Text.assemble(("$ ", "bold green"), ("make demo", "bold")))
    console.print(Text(shown.stdout.rstrip()))
    console.save_svg(str(PICTURE), title="openai-stream")


if __name__ == "__main__":
    main()
