"""Where a secret could show: every place of an error, of what is logged, kept and sent elsewhere.

:func:`places` looks at all of them and says in which the secret is. ``test_secrets.py`` has it look
after calls whose server quotes the key, and plants one in each place to see that it is found.
"""

from __future__ import annotations

import base64
import copyreg
import gc
import logging
import pickle
import re
import traceback
from collections.abc import Iterator
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

import tblib.pickling_support

__all__ = ["KEY", "places", "quoted"]

#: Nothing else has its middle in it, and that is looked for: so a piece of it is found as well.
KEY = "sk-Never-to-Be-Seen-Anywhere"
_MIDDLE = "-to-be-seen-"
_FORMS = re.compile(
    "|".join(
        [
            r"(-|%(25)*2d|\\+u002d|\\+x2d|&#45;|&#x2d;)".join(_MIDDLE.split("-")),
            # Of the key in base64 what is the same wherever it begins.
            *(
                re.escape(base64.b64encode(bytes(offset) + KEY.encode()).decode()[8:-8].lower())
                for offset in range(3)
            ),
        ]
    )
)
#: What leads from an error to the whole program.
_ELSEWHERE = (
    type,
    ModuleType,
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    CodeType,
    FrameType,
    TracebackType,
    logging.Logger,
)


def quoted(text: str | bytes) -> bool:
    """Whether the key is in there, in one of the forms that text is quoted in."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return _FORMS.search(text.lower()) is not None


def places(error: BaseException | None = None, /, **texts: str | bytes) -> set[str]:
    """The names of the places in which the key shows.

    :param error: what was raised; its ``snapshot`` is the answer, and not looked at.
    :param texts: other places: what was logged, a recording.
    """
    found = {name for name, text in texts.items() if quoted(text)}
    if error is not None:
        found |= {name for name, text in _of_error(error) if quoted(text)}
    return found


def _of_error(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    yield "str", str(error)
    yield "repr", repr(error)
    yield "traceback", "".join(traceback.format_exception(error))
    with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "locals", "".join(with_locals.format())
    attributes = {name: value for name, value in vars(error).items() if name != "snapshot"}
    yield "vars", repr({**attributes, "headers": dict(getattr(error, "headers", {}))})
    yield "reachable", "\n".join(_reachable(error))
    snapshot = error.__dict__.pop("snapshot", None)
    try:
        yield "pickle", _pickled(error)
        yield "pickle with tblib", _pickled_with_causes(error)
    finally:
        if snapshot is not None:
            error.__dict__["snapshot"] = snapshot


def _pickled(error: BaseException) -> bytes:
    return pickle.dumps(error, protocol=0)


def _pickled_with_causes(error: BaseException) -> bytes:
    """As somebody pickles it who has all exceptions pickled with causes, and does so at the end."""
    before = dict(copyreg.dispatch_table)
    try:
        tblib.pickling_support.install()
        return pickle.dumps(error, protocol=0)
    finally:
        copyreg.dispatch_table.clear()
        copyreg.dispatch_table.update(before)


def _reachable(error: BaseException) -> Iterator[str]:
    """All texts that an error leads to, by whatever way, but for its frames and its answer."""
    todo: list[Any] = [error]
    seen = {id(todo), id(getattr(error, "snapshot", None))}
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, _ELSEWHERE):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one
        elif isinstance(one, (bytes, bytearray)):
            yield bytes(one).decode("latin-1")
        todo += gc.get_referents(one)
