"""What many tests share: how long is waited, and the types of what they pass around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["JSON", "SOON", "Chat"]

#: Seconds. What is waited for takes milliseconds: a test that waits so long has failed.
SOON = 30.0

JSON: TypeAlias = dict[str, Any]
#: A fixture that makes a call with what else it is given.
Chat: TypeAlias = Callable[..., Any]
