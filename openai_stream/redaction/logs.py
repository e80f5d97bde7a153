"""Secrets in what others log for us: ``urllib3`` of our requests, ``sseclient`` of our streams.

What they log is the server's words, and URLs with their queries. Other users of those packages
are left alone: only records that come on a thread that makes a request of ours are looked at.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from .names import hidden_target
from .secrets import Secrets

__all__ = ["hiding_in_logs", "without_secrets"]

_LOGGERS = tuple(
    logging.getLogger(f"urllib3.{name}")
    for name in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)
# Not a ``threading.local``, which would be that of all greenlets together if it was made before
# gevent patched the module.
_current: ContextVar[Secrets | None] = ContextVar("secrets", default=None)


class _Filter(logging.Filter):
    """Takes the secrets of the request that this thread makes out of a record; lets all pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        secrets = _current.get()
        if secrets is None:
            return True
        mask = secrets.mask()
        message = record.getMessage()
        hidden = mask.hide_long(hidden_target(message))
        if hidden != message:
            record.msg, record.args = hidden, None
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            hidden = mask.hide_long(text)
            if hidden != text:
                record.exc_info, record.exc_text = None, hidden
        return True


_filter = _Filter()


class hiding_in_logs:
    """While a request is made on this thread, what is logged of it has no secrets."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __enter__(self) -> None:
        for logger in _LOGGERS:  # again each time: whoever sets logging up anew may clear filters
            logger.addFilter(_filter)
        self._outer = _current.set(self._secrets)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._outer)


class without_secrets:
    """A logger whose records of ``DEBUG`` have no secrets in them."""

    def __init__(self, logger: logging.Logger, clean: Callable[[str], str]) -> None:
        self._logger = logger
        self._clean = clean

    def debug(self, message: str, *args: Any) -> None:
        """Log it."""
        self._logger.debug("%s", self._clean(message % args if args else message))
