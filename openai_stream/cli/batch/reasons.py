"""Why prompts failed, in groups: what is the same but for a number or a name is one."""

from __future__ import annotations

import re
from typing import Any

import attrs

from openai_stream.cli.characters import harmless

__all__ = ["Reasons"]

_MOST_KINDS = 50  # that are kept: each has its example
_MOST_SHOWN = 5
_TIMES = "\u00d7"
_LONGEST = 300  # characters of an example that are shown
# What a message says of one prompt only: what it quotes, and words with a digit in them.
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\S*\d\S*")


@attrs.define
class _Group:
    example: str
    count: int = 0


class Reasons:
    """Counts the failures of a run, by kind."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._others = 0

    def add(self, error: dict[str, Any], response: dict[str, Any] | None = None) -> str:
        """Count a failure.

        :param error: as a line of answers has it.
        :param response: as a line of answers has it.
        :returns: its kind, the same for all that are alike.
        """
        message = " ".join(str(error.get("message") or "").split())
        parts = (
            error.get("type"),
            error.get("code"),
            None if response is None else response.get("status_code"),
            _PARTICULAR.sub("#", message[:1000]),
        )
        kind = repr(parts)
        group = self._groups.get(kind)
        if group is None:
            if len(self._groups) >= _MOST_KINDS:
                self._others += 1
                return kind
            example = message or str(error.get("type"))
            if len(example) > _LONGEST:
                example = example[:_LONGEST] + "…"
            group = self._groups[kind] = _Group(harmless(example))
        group.count += 1
        return kind

    def of(self, kind: str) -> str:
        """An example of a kind."""
        group = self._groups.get(kind)
        return "" if group is None else group.example

    def lines(self, where: str) -> list[str]:
        """What to tell, the most frequent first.

        :param where: the failures are written, each with its prompt's id.
        """
        groups = sorted(self._groups.values(), key=lambda group: -group.count)
        shown = groups[:_MOST_SHOWN]
        others = self._others + sum(group.count for group in groups[_MOST_SHOWN:])
        lines = [f"{group.count} {_TIMES} {group.example.rstrip('.')}" for group in shown]
        if others:
            lines.append(f"{others} {_TIMES} other reasons")
        if lines:
            lines[-1] += f"{'' if lines[-1].endswith('?') else ':'} see {harmless(where)}"
        return lines
