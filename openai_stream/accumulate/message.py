"""The deltas of one chat choice, put together to its message: content, tool calls, everything else.

OpenAI's deltas are the plain case; the rest is for the servers that speak its protocol each in its
own way. Where a delta came from is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai_stream.surrogates import joined

from .blocks import GROWING, Block, add_field, grow
from .pieces import Node, Object, Text, frozen, is_void, join, keep
from .tool import Tool
from .tool_calls import ToolCalls

#: A message with one of these says what it says there: its content is null, not empty.
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")

#: Content parts that continue the part before where that is of their type. Two of another type,
#: two images say, are two parts.
_GROWING_PARTS = frozenset({"text", "output_text", "refusal", "reasoning", "thinking"})

#: What is a list or an object by the API, besides content and tool calls.
_DOCUMENTED = {"annotations": list, "audio": dict, "function_call": dict}

#: The strings of audio that come in pieces.
_OF_AUDIO = GROWING | {"data"}


class _Parts(Node):
    """Message content that arrives as a list of parts, with or without plain strings in between.

    :param text: what came before, as plain strings.
    :param nested: whether these are the parts inside a part, which are not looked into further.
    """

    __slots__ = ("_nested", "_parts")

    def __init__(self, text: Text, nested: bool = False) -> None:
        self._nested = nested
        self._parts: list[Any] = [Object(type="text", text=text)] if text else []

    def append(self, piece: str) -> None:
        """Plain text, which continues a text part."""
        self.add({"type": "text", "text": piece})

    def add(self, part: Any) -> None:
        """One part of a delta's content, in whatever form."""
        if type(part) is str:
            self.append(part)
        elif type(part) is dict:
            self._add_object(part)
        elif part is not None:
            self._parts.append(part)

    def _add_object(self, part: dict[str, Any]) -> None:
        kind = part.get("type")
        if type(kind) is not str or kind not in _GROWING_PARTS:
            self._parts.append(part)
            return
        last = self._parts[-1] if self._parts else None
        if type(last) is not Object or last.get("type") != kind:
            last = Object()
            self._parts.append(last)
        for key, value in part.items():
            if type(value) is list and key == kind and not self._nested:
                # Mistral's thinking is a list of text parts again.
                inner = last.get(key)
                if not isinstance(inner, _Parts):
                    inner = last[key] = _Parts(Text(), nested=True)
                for item in value:
                    inner.add(item)
            elif key == "index":
                pass
            elif type(value) is not str:
                grow(last, key, value)
            elif key in GROWING:
                join(last, key, value)
            elif value or last.get(key) is None:
                last[key] = value

    def frozen(self) -> list[Any]:
        """The parts, joined where they continue each other."""
        return [frozen(part) for part in list(self._parts)]

    def content(self) -> Any:
        """What a message's content is: a string where all of it is text, else the parts."""
        # Text that is followed by text is one part.
        match [part for part in self.frozen() if part != {"type": "text", "text": ""}]:
            case []:
                return ""
            case [{"type": "text", "text": str(text), **more}] if not more:
                return text
            case parts:
                return parts


class Message:
    """The message of one choice, from deltas.

    Strings are joined, but for those that come whole (role, id, type, name, format). Lists and
    objects grow, see :mod:`.blocks`, and tool calls by :mod:`.tool_calls`. Of everything else the
    last wins.

    :param tools: the names of the tools that the model may call, where they are known.
    """

    __slots__ = ("_content", "_fields", "_tools", "append")

    def __init__(self, tools: frozenset[str] = frozenset()) -> None:
        self._tools = tools
        self._content: Text | _Parts = Text()
        #: Adds a piece of content that is a string.
        self.append: Callable[[str], None] = self._content.append
        self._fields: dict[str, Any] = {}

    def add(self, delta: dict[str, Any], ends: bool = False) -> None:
        """One delta.

        :param ends: it came with the finish reason.
        """
        fields = self._fields
        for key, value in delta.items():
            if key == "content":
                self._add_content(value)
            elif key == "tool_calls":
                self._add_calls(value)
            elif key in _DOCUMENTED:
                self._add_documented(key, value, ends)
            else:
                add_field(fields, key, value, ends)

    def replace(self, message: dict[str, Any]) -> None:
        """A whole message, as some servers send it in place of a delta, mostly in the last chunk.

        What it says stands in place of what the deltas said; what it leaves empty stays.
        """
        whole = Message(self._tools)
        whole.add(message)
        for key, value in whole._fields.items():
            if key not in self._fields or not is_void(message[key]):
                self._fields[key] = value
        if not self._content or not is_void(message.get("content")):
            self._content = whole._content
            self.append = whole.append

    def _add_content(self, value: Any) -> None:
        if type(value) is str:
            self.append(value)
        elif value is not None:
            parts = self._content
            if not isinstance(parts, _Parts):
                parts = _Parts(parts)
                self._content = parts
                self.append = parts.append
            for part in value if type(value) is list else (value,):
                parts.add(part)

    def _add_calls(self, value: Any) -> None:
        calls = self._fields.get("tool_calls")
        if type(value) is dict:
            value = [value]
        if type(value) is list:
            if not isinstance(calls, ToolCalls):
                calls = self._fields["tool_calls"] = ToolCalls(self._tools)
            calls.add(value)
        elif not isinstance(calls, ToolCalls):
            keep(self._fields, "tool_calls", value)

    def _add_documented(self, key: str, value: Any, ends: bool) -> None:
        """A list or an object that the API documents. A value of the wrong type stands only until
        one of the right type comes.
        """
        have = self._fields.get(key)
        if type(value) is not _DOCUMENTED[key]:
            if not isinstance(have, Node):
                keep(self._fields, key, value)
        elif key == "function_call":
            if not isinstance(have, Tool):
                have = self._fields[key] = Tool(self._tools, takes_json=True)
            have.add(value)
        elif key == "audio":
            if not isinstance(have, Block):
                have = self._fields[key] = Block(growing=_OF_AUDIO)
            have.add(value, ends)
        else:
            grow(self._fields, key, value, ends)

    def frozen(self) -> dict[str, Any]:
        """The message, role and content first, as they are in every message."""
        fields = {key: frozen(value) for key, value in self._fields.copy().items()}
        content = self._content
        text: Any
        if isinstance(content, _Parts):
            text = content.content()
        else:
            text = joined("".join(content)) if content else None
        if text == "" and any(fields.get(key) for key in _INSTEAD_OF_CONTENT):
            text = None
        return {"role": fields.pop("role", None) or "assistant", "content": text, **fields}
