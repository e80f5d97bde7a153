"""Draw ``make demo`` at work, from a real run: ``python docs/demo.py``, with ``rich`` installed.

Needs ``make demo`` to have been run once, so that what is drawn is the answer and not pip.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COMMAND = "make demo"


def main() -> None:
    shown = subprocess.run(
        COMMAND.split(), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    console = Console(record=True, width=88, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(Text.assemble(("$ ", "bold green"), (COMMAND, "bold")))
    console.print(Text(shown.rstrip()))
    console.save_svg(str(PICTURE), title="openai-stream")


if __name__ == "__main__":
    main()
