"""Where the installed command begins: before the package, whose import takes a moment.

A Ctrl-C in that moment ends the command without a word, as it does later.
"""

import signal
from contextlib import suppress

__all__ = ["main"]


def main() -> int:
    """Run the command.

    :returns: the exit status.
    """
    # Ends the process as the shell expects it: no exception, and so no traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from openai_stream.__main__ import main as run  # noqa: PLC0415

    with suppress(ImportError):  # what is missing is said there
        import openai_stream.cli  # noqa: F401, PLC0415 - so that nothing is left to load

    signal.signal(signal.SIGINT, before)
    return run()
