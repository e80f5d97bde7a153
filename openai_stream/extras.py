"""What is said if a part of the package lacks what an extra of it brings."""

from __future__ import annotations

__all__ = ["install"]


def install(*extras: str) -> str:
    """What to do about it, for messages: the same words everywhere.

    Not ``pip install openai-stream[…]``: an index need not have this package under its name.

    :param extras: all that are needed.
    """
    one = "extra" if len(extras) == 1 else "extras"
    names = " and ".join(map(repr, extras))
    checkout = f'python -m pip install ".[{",".join(extras)}]"'
    return f"install openai-stream with the {one} {names} (in a checkout: {checkout})"
