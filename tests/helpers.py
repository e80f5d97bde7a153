"""What many tests share: how long is waited, the types of what they pass around, and a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["JSON", "SOON", "TAKE_ALL", "Chat"]

#: Seconds. What is waited for takes milliseconds: a test that waits so long has failed.
SOON = 30.0

JSON: TypeAlias = dict[str, Any]
#: A fixture that makes a call with what else it is given.
Chat: TypeAlias = Callable[..., Any]

#: For a script: leaves no descriptor to it, and gives those that were taken.
TAKE_ALL = """
import os, resource

def take_all(limit):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return taken
"""
