"""What a page is told of an error: what a program needs to decide, and no word that is not the
site's own.

The text of an exception is written for developers. It names addresses and models, and quotes what
the model's server says; a visitor has no business with any of it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

__all__ = ["ErrorText", "check_error_text", "told", "words_of"]

_log = logging.getLogger("openai_stream")

ErrorText = Callable[[BaseException], object]

#: A code is a name or a number. What else servers put there is for the log.
_CODE = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def check_error_text(error_text: object) -> None:
    """Refuse what cannot be called.

    :raises TypeError: it cannot.
    """
    if error_text is not None and not callable(error_text):
        raise TypeError(f"error_text must be a function of the error, not {error_text!r}")


def told(error: BaseException) -> dict[str, Any]:
    """What is told of an error in any case: class, code, and whether asking again may help."""
    code = getattr(error, "code", None)
    is_code = isinstance(code, str) and _CODE.fullmatch(code) is not None
    return {
        "type": type(error).__name__,
        "code": code if is_code else None,
        "retryable": bool(getattr(error, "retryable", False)),
    }


def words_of(error: BaseException, error_text: ErrorText | None) -> str | None:
    """The site's own words for an error, if it has any.

    :param error_text: the site's function. If it fails, the page still gets its end.
    """
    if error_text is None:
        return None
    try:
        words = error_text(error)
        return None if words is None else str(words)  # which may be a translation yet to be made
    except Exception:
        _log.exception("error_text raised; the page gets the error without its text")
        return None
