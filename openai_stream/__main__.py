"""``python -m openai_stream``, and the console script ``openai-stream``."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys

from openai_stream.extras import install

__all__ = ["main"]

_NEEDED = ("click", "rich")


def main() -> int:
    """Run the command.

    :returns: the exit status; the command itself leaves by ``SystemExit``.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"Error: the command needs {' and '.join(missing)}: {install('cli')}",
            file=sys.stderr,
        )
        return 2
    try:
        from openai_stream.cli import program  # noqa: PLC0415 - it needs what was looked for

        program(prog_name="openai-stream")
    except KeyboardInterrupt:  # while the modules were loaded
        return 128 + signal.SIGINT
    except SystemExit as end:
        if end.code:
            _give_up_output()
        raise
    return 0


def _give_up_output() -> None:
    """Why the command failed has been said. If a full disk is why, the interpreter would try to
    write what is left once more, complain, and leave with a status of its own.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
