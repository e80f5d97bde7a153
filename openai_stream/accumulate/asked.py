"""What was asked, so far as it tells how the answer is to be put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["UNKNOWN", "Asked"]


@attrs.frozen(eq=False, repr=False)
class Asked:
    """What an accumulator may know of the request.

    :param one_choice: the request asked for one choice. False: for several, or nobody knows.
    :param tools: the names of the tools that the model may call; empty: none, or nobody knows.
    :param cls: the class that the answer is to be JSON of, if there is one.
    """

    one_choice: bool = False
    tools: frozenset[str] = frozenset()
    cls: type | None = None

    @classmethod
    def of(cls, body: Any, answer: type | None = None) -> Asked:
        """What the body of a request asks for. What it cannot be understood for is unknown.

        :param answer: the class that the answer is to be JSON of.
        """
        if not isinstance(body, Mapping):
            return UNKNOWN
        return cls(_asks_for_one(body), frozenset(_names(body)), answer)


#: The request is not known: of a recording, say.
UNKNOWN = Asked()


def _asks_for_one(body: Mapping[str, Any]) -> bool:
    count = body.get("n")
    if count is not None and (type(count) is not int or count != 1):
        return False
    prompt = body.get("prompt")
    # A list of prompts has an answer for each. A list of numbers is one prompt, in tokens.
    return not (
        isinstance(prompt, (list, tuple))
        and len(prompt) > 1
        and not all(isinstance(item, int) for item in prompt)
    )


def _names(body: Mapping[str, Any]) -> set[str]:
    found = set()
    for key in ("tools", "functions"):
        tools = body.get(key)
        for tool in tools if isinstance(tools, (list, tuple)) else ():
            if not isinstance(tool, Mapping):
                continue
            for inner in (tool.get("function"), tool.get("custom"), tool):
                if isinstance(inner, Mapping) and isinstance(name := inner.get("name"), str):
                    found.add(name)
    return found
