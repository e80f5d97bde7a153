"""What a model thinks, in the spellings of the servers of Chat Completions.

``reasoning_content`` (DeepSeek, vLLM, Qwen), ``reasoning`` (OpenRouter, Groq, Ollama),
``thinking``, content parts of that type (Mistral), ``thinking_blocks`` (LiteLLM, for Anthropic) and
``reasoning_details`` (OpenRouter). Some send two of them, with the same text: the first that
brings any in an answer is the one that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from openai_stream.accumulate.blocks import begins_with
from openai_stream.accumulate.pieces import index_of, is_void

__all__ = ["ReasoningTexts"]

#: In the order in which they are asked for, in the first chunk that has any. Strings come first:
#: they say no more than the text.
_SPELLINGS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "content",
    "thinking_blocks",
    "reasoning_details",
)
_FIELDS = frozenset(_SPELLINGS) - {"content"}
#: Nobody nests a text deeper.
_DEEPEST = 12
_PARTS = ("thinking", "reasoning")
_TEXTS = ("text", "thinking", "reasoning", "summary", "content")


class ReasoningTexts:
    """The reasoning that each delta of an answer adds to a choice."""

    def __init__(self) -> None:
        self._spelling: str | None = None
        self._blocks = _Blocks()

    def read(self, delta: Mapping[str, Any], ends: bool) -> str:
        """What a delta adds.

        :param ends: it came with the finish reason.
        """
        for spelling in _SPELLINGS if self._spelling is None else (self._spelling,):
            value = delta.get(spelling)
            if is_void(value) or (spelling == "content" and type(value) is str):
                continue
            text = self._read(spelling, value, ends)
            if text:
                self._spelling = spelling
                return text
        return ""

    def more(self, rest: dict[str, Any]) -> str | None:
        """The piece that a delta adds which has nothing but reasoning, as a string.

        :param rest: the fields of the delta that the API does not document.
        """
        spelling = self._spelling
        if spelling is None or not rest.keys() <= _FIELDS:
            return None
        piece = rest.get(spelling)
        return piece if type(piece) is str else None

    @property
    def has_begun(self) -> bool:
        """Some text came."""
        return self._spelling is not None

    def _read(self, spelling: str, value: Any, ends: bool) -> str:
        if type(value) is str:
            return value
        if spelling == "content":
            return "".join(_of_parts(value))
        return self._blocks.read(value if type(value) is list else [value], ends)


def _of_parts(content: Any) -> Iterator[str]:
    """The texts of the content parts that are reasoning."""
    for part in content if type(content) is list else (content,):
        if type(part) is dict and part.get("type") in _PARTS:
            yield _text_of(part)


def _text_of(entry: Any, depth: int = 0) -> str:
    """The text of a block, or of the parts in it."""
    if type(entry) is str:
        return entry
    if depth > _DEEPEST:
        return ""
    if type(entry) is list:
        return "".join([_text_of(one, depth + 1) for one in entry])
    if type(entry) is dict:
        for key in _TEXTS:
            if not is_void(entry.get(key)):
                return _text_of(entry[key], depth + 1)
    return ""


class _Run:
    """Pieces of one block."""

    __slots__ = ("keys", "length", "pieces")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.length = 0
        self.pieces: list[str] = []

    def repeats(self, entry: dict[str, Any], text: str, ends: bool) -> bool:
        """Whether an entry is the whole block that came in pieces, as in :mod:`.blocks`."""
        if len(self.pieces) < 2 or self.length != len(text):
            return False
        brings_a_key = any(key not in self.keys and not is_void(entry[key]) for key in entry)
        return (ends or brings_a_key) and "".join(self.pieces) == text

    def add(self, entry: dict[str, Any], text: str) -> None:
        self.keys.update(key for key, value in entry.items() if not is_void(value))
        if text:
            self.pieces.append(text)
            self.length += len(text)


class _Blocks:
    """A list of blocks in pieces: what each list adds to the text.

    The rules are those by which the list itself adds up (:mod:`openai_stream.accumulate.blocks`):
    a list that begins with all that came is the list so far, and a block that is all of its pieces
    only tells them once more.
    """

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._runs: dict[Any, _Run] = {}
        self._last: Any = None

    def read(self, items: list[Any], ends: bool) -> str:
        """What a list adds.

        :param ends: it came with the finish reason.
        """
        if begins_with(items, self._entries):
            items = items[len(self._entries) :]
        return "".join([self._of(item, ends) for item in items])

    def _of(self, item: Any, ends: bool) -> str:
        text = _text_of(item)
        if type(item) is not dict:
            self._entries.append(item)
            return text
        index = index_of(item.get("index"))
        if index is None:
            self._entries.append(item)
        kind = item.get("type")
        place = (index, kind if type(kind) is str else None)
        if index is None and place != self._last:
            self._runs.pop(place, None)  # a block of another type stood between them
        self._last = place
        run = self._runs.get(place)
        if run is None:
            run = self._runs[place] = _Run()
        if text and run.repeats(item, text, ends):
            self._runs.pop(place)
            return ""
        run.add(item, text)
        return text
