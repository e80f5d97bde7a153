"""The deltas of one chat choice, put together to its message: content, tool calls, everything else.

OpenAI's deltas are the plain case; the rest is for the servers that speak its protocol each in its
own way. Where a delta came from is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pieces import (
    Node,
    Object,
    Text,
    extend,
    frozen,
    frozen_in_order,
    grow_object,
    is_void,
    join,
    keep,
)

#: A message with one of these says what it says there: its content is null, not empty.
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")

#: Content parts that continue the part before where that is of their type. Two of another type,
#: two images say, are two parts.
_GROWING_PARTS = frozenset({"text", "output_text", "refusal", "reasoning", "thinking"})


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
            elif key != "index":
                join(last, key, value)

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


class _Call:
    """One tool call, and what tells its fragments from those of others."""

    __slots__ = ("fields", "id", "index")

    def __init__(self) -> None:
        self.index: int | None = None
        self.id: str | None = None
        self.fields = Object()


def _name(call: dict[str, Any]) -> str | None:
    """The name in a tool call or in a fragment of one."""
    for key in ("function", "custom"):
        tool = call.get(key)
        if isinstance(tool, dict):
            name = tool.get("name")
            if type(name) is str and name:
                return name
    return None


class _Calls(Node):
    """The tool calls of one message, from fragments.

    A fragment belongs to the call with its index; where it has none, to the call with its id; where
    it has neither, to the call that the last fragment went to. A new index or a new id begins a
    call, a new id also under an index that is taken (there are servers that number all parallel
    calls 0). A fragment with neither begins one if it names a tool and either the open call is of
    another name, or both came in the same chunk: servers that number nothing send calls whole.
    """

    __slots__ = ("_by_id", "_by_index", "_calls", "_open")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._open: _Call | None = None

    def add(self, fragments: list[Any]) -> None:
        """The fragments that came together in one chunk."""
        before: _Call | None = None
        for fragment in fragments:
            if type(fragment) is not dict:
                continue
            index = fragment.get("index")
            if type(index) is not int:
                index = None
            ident = fragment.get("id")
            if type(ident) is not str or not ident:
                ident = None
            call = self._find(index, ident, fragment, before)
            known = call is not None
            if call is None:
                call = _Call()
            if index is not None:
                call.index = index
                self._by_index[index] = call
            if ident is not None:
                call.id = ident
                self._by_id[ident] = call
            fields = call.fields
            for key, value in fragment.items():
                if key in {"function", "custom"}:
                    grow_object(fields, key, value)
                elif key != "index":
                    join(fields, key, value)
            if not known:
                self._calls.append(call)
            self._open = before = call

    def _find(
        self, index: int | None, ident: str | None, fragment: dict[str, Any], before: _Call | None
    ) -> _Call | None:
        """The call that a fragment continues, ``None`` where it begins one."""
        if index is not None:
            return self._find_numbered(index, ident, fragment)
        if ident is not None:
            return self._by_id.get(ident)
        call = self._open
        name = _name(fragment)
        if call is not None and name and (call is before or _name(call.fields) not in {None, name}):
            return None
        return call

    def _find_numbered(
        self, index: int, ident: str | None, fragment: dict[str, Any]
    ) -> _Call | None:
        call = self._by_index.get(index)
        if call is not None and (ident is None or call.id is None or call.id == ident):
            return call
        if ident is not None:
            # Known by its id, and so far without an index, or with an index that others share.
            call = self._by_id.get(ident)
            return call if call is not None and call.index in {None, index} else None
        if self._open is not None and self._open.index is None and not _name(fragment):
            return self._open
        return None

    def frozen(self) -> list[Any]:
        """The calls, in order."""
        return frozen_in_order(self._calls)


class Message:
    """The message of one choice, from deltas.

    Strings are joined, but for those that come whole (role, id, type, name, format); so are the
    strings inside of ``function_call`` and ``audio``. Annotations are collected. Of everything else
    the last wins, see :func:`.pieces.join`.
    """

    __slots__ = ("_content", "_fields", "append")

    def __init__(self) -> None:
        self._content: Text | _Parts = Text()
        #: Adds a piece of content that is a string.
        self.append: Callable[[str], None] = self._content.append
        self._fields: dict[str, Any] = {}

    def add(self, delta: dict[str, Any]) -> None:
        """One delta."""
        fields = self._fields
        for key, value in delta.items():
            if key == "content":
                self._add_content(value)
            elif key == "tool_calls":
                self._add_calls(value)
            elif key in {"function_call", "audio"}:
                grow_object(fields, key, value)
            elif key == "annotations":
                extend(fields, key, value)
            else:
                join(fields, key, value)

    def replace(self, message: dict[str, Any]) -> None:
        """A whole message, as some servers send it in place of a delta, mostly in the last chunk.

        What it says stands in place of what the deltas said; what it leaves empty stays.
        """
        whole = Message()
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
            if not isinstance(calls, _Calls):
                calls = self._fields["tool_calls"] = _Calls()
            calls.add(value)
        elif not isinstance(calls, _Calls):
            keep(self._fields, "tool_calls", value)

    def frozen(self) -> dict[str, Any]:
        """The message, role and content first, as they are in every message."""
        fields = {key: frozen(value) for key, value in self._fields.copy().items()}
        content = self._content
        text: Any
        if isinstance(content, _Parts):
            text = content.content()
        else:
            text = "".join(content) if content else None
        if text == "" and any(fields.get(key) for key in _INSTEAD_OF_CONTENT):
            text = None
        return {"role": fields.pop("role", None) or "assistant", "content": text, **fields}
