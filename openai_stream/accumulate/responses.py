"""The events of ``/responses``, put together.

The last event carries the whole response; until it comes, one is built from the output items and
the deltas that were told. Events that only report progress, or that carry what no response holds
(partial images, audio), leave no trace.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .pieces import Array, Node, Object, Text, extend, fresh, frozen, frozen_in_order, is_void

#: The events that end a response, and so carry all of it.
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

#: The last words of the events that tell nothing but the new status of a ``…_call`` item.
_STATUSES = frozenset(
    {"in_progress", "searching", "interpreting", "generating", "completed", "failed"}
)


class _Target(NamedTuple):
    """Where the text of a kind of event belongs."""

    #: The field of the text, in the item or the part; the ``done`` event has it under this name.
    field: str
    #: The type of the item, should its announcement be missing.
    item: str
    #: The item's list of parts and the field that tells the part, if the text is a part's.
    parts: str | None = None
    position: str = ""
    #: The type of the part, should its announcement be missing.
    part: str = ""


_TEXTS = {
    "response.output_text": _Target("text", "message", "content", "content_index", "output_text"),
    "response.refusal": _Target("refusal", "message", "content", "content_index", "refusal"),
    "response.reasoning_text": _Target(
        "text", "reasoning", "content", "content_index", "reasoning_text"
    ),
    "response.reasoning_summary_text": _Target(
        "text", "reasoning", "summary", "summary_index", "summary_text"
    ),
    "response.function_call_arguments": _Target("arguments", "function_call"),
    "response.mcp_call_arguments": _Target("arguments", "mcp_call"),
    "response.custom_tool_call_input": _Target("input", "custom_tool_call"),
    "response.code_interpreter_call_code": _Target("code", "code_interpreter_call"),
}
_DELTAS = {f"{kind}.delta": target for kind, target in _TEXTS.items()}
_DONES = {f"{kind}.done": target for kind, target in _TEXTS.items()}


#: The events that tell a part: the item's type, its list of parts, the field with the index.
_PARTS = {
    "response.content_part.added": ("message", "content", "content_index"),
    "response.content_part.done": ("message", "content", "content_index"),
    "response.reasoning_summary_part.added": ("reasoning", "summary", "summary_index"),
    "response.reasoning_summary_part.done": ("reasoning", "summary", "summary_index"),
}


def _ident(value: Any) -> str | None:
    return value if type(value) is str and value else None


def _position(value: Any) -> int | None:
    return value if type(value) is int else None


def _overwrite(fields: dict[str, Any], whole: dict[str, Any]) -> None:
    """What is announced or reported as done stands in place of what was known, but for what it
    leaves empty.
    """
    for key, value in whole.items():
        if key not in fields or not is_void(value):
            fields[key] = value


class _Parts(dict[int, Any], Node):
    """The parts of one item, by index."""

    __slots__ = ()

    def newest(self) -> int:
        """The index of the part that came last, -1 where there is none."""
        return next(reversed(self), -1)

    def at(self, index: int | None, kind: str | None = None) -> Object:
        """The part of that index, by default the newest, made if there is none."""
        if index is None:
            index = max(self.newest(), 0)
        part = self.get(index)
        if type(part) is not Object:
            if not isinstance(part, dict):
                part = {"type": kind} if kind else {}
            part = self[index] = Object(part)
        return part

    def frozen(self) -> list[Any]:
        """The parts in order."""
        parts = self.copy()
        return [frozen(parts[index]) for index in sorted(parts)]


class _Item:
    """One output item."""

    __slots__ = ("announced", "fields", "id", "index")

    def __init__(self, kind: str | None) -> None:
        self.index: int | None = None
        self.id: str | None = None
        self.announced = False
        self.fields = Object(type=kind) if kind else Object()

    def parts(self, name: str) -> _Parts:
        """One of the item's lists of parts, made to grow."""
        parts = self.fields.get(name)
        if not isinstance(parts, _Parts):
            parts = _Parts(enumerate(parts) if isinstance(parts, list) else ())
            self.fields[name] = parts
        return parts


class _Items(Node):
    """The output items of one response.

    An event belongs to the item with its ``output_index``; where it has none, to the item with its
    ``item_id``; where it has neither, to the item that the last event was about. The index comes
    first as there are proxies that give one item a new id with each event.
    """

    __slots__ = ("_by_id", "_by_index", "_items", "_open")

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._by_index: dict[int, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self._open: _Item | None = None

    def find(self, index: int | None, ident: str | None) -> _Item | None:
        """The item that an event is about, ``None`` where it was not told of before."""
        if index is None:
            return self._open if ident is None else self._by_id.get(ident)
        item = self._by_index.get(index)
        if item is None and ident is not None:
            item = self._by_id.get(ident)
            if item is not None and item.index is not None:
                return None
        return item

    def about(self, event: dict[str, Any], kind: str) -> _Item:
        """The item that an event is about, made if need be."""
        index = _position(event.get("output_index"))
        ident = _ident(event.get("item_id"))
        item = self.find(index, ident)
        if item is None:
            item = _Item(kind)
            if ident is not None:
                item.id = item.fields["id"] = ident
                self._by_id[ident] = item
            self._items.append(item)
        self._number(item, index)
        return item

    def put(self, index: int | None, whole: dict[str, Any], added: bool) -> None:
        """An item as the server tells it.

        :param added: whether it is announced: an id that is new under an index that is taken is
            then another item, of a server that numbers all of them 0; so is one with neither.
        """
        call = _ident(whole.get("call_id"))
        ident = _ident(whole.get("id")) or call
        # llama.cpp calls a function call's item by its call id.
        item = self.find(index, ident) or (self.find(index, call) if call else None)
        if (
            item is not None
            and added
            and item.announced
            and (item.id != ident or (index is None and ident is None))
        ):
            item = None
        known = item is not None
        if item is None:
            item = _Item(None)
        item.announced = True
        item.id = ident or item.id
        for name in (ident, call):
            if name is not None:
                self._by_id[name] = item
        _overwrite(item.fields, whole)
        if not known:
            self._items.append(item)
        self._number(item, index)

    def _number(self, item: _Item, index: int | None) -> None:
        if index is not None and item.index != index:
            item.index = index
            self._by_index[index] = item
        self._open = item

    def frozen(self) -> list[Any]:
        """The items, in order."""
        return frozen_in_order(self._items)


class ResponseAccumulator:
    """The events of a response -> the ``response``.

    One thread calls :meth:`add`; everything else may be called from any thread at any time.
    """

    __slots__ = ("_final", "_items", "_response", "complete", "empty")

    def __init__(self) -> None:
        #: Whether no event was added so far.
        self.empty = True
        #: Whether ``response.completed`` or ``response.incomplete`` was seen.
        self.complete = False
        self._response: dict[str, Any] = {}
        self._final: dict[str, Any] | None = None
        self._items = _Items()

    def add(self, event: dict[str, Any]) -> None:
        """Add one event: any JSON object, which is not changed and not kept."""
        self.empty = False
        kind = event.get("type")
        if type(kind) is not str:
            return
        target = _DELTAS.get(kind)
        if target is not None:
            piece = event.get("delta")
            if type(piece) is str:
                fields = self._fields(event, target)
                text = fields.get(target.field)
                if type(text) is not Text:
                    text = Text((text,) if type(text) is str and text else ())
                    fields[target.field] = text
                text.append(piece)
                if event.get("logprobs"):
                    extend(fields, "logprobs", event["logprobs"])
        elif (target := _DONES.get(kind)) is not None:
            _overwrite(
                self._fields(event, target),
                {key: event[key] for key in (target.field, "logprobs") if key in event},
            )
        else:
            self._add_structure(kind, event)

    def _fields(self, event: dict[str, Any], target: _Target) -> Object:
        """The item or part whose text an event is about."""
        item = self._items.about(event, target.item)
        if target.parts is None:
            return item.fields
        return item.parts(target.parts).at(_position(event.get(target.position)), target.part)

    def _add_structure(self, kind: str, event: dict[str, Any]) -> None:
        """An event that is not about text."""
        if kind in {"response.output_item.added", "response.output_item.done"}:
            item = event.get("item")
            if type(item) is dict:
                index = _position(event.get("output_index"))
                self._items.put(index, item, added=kind == "response.output_item.added")
        elif kind in _PARTS:
            self._add_part(kind, event)
        elif kind == "response.output_text.annotation.added":
            self._add_annotation(event)
        elif kind.startswith("response."):
            self._add_response(kind, event)

    def _add_part(self, kind: str, event: dict[str, Any]) -> None:
        part = event.get("part")
        if type(part) is dict:
            item, field, index_field = _PARTS[kind]
            parts = self._items.about(event, item).parts(field)
            index = _position(event.get(index_field))
            if index is None and kind.endswith(".added"):
                index = parts.newest() + 1
            _overwrite(parts.at(index), part)

    def _add_annotation(self, event: dict[str, Any]) -> None:
        annotation = event.get("annotation")
        if annotation is None:
            return
        part = self._fields(event, _TEXTS["response.output_text"])
        annotations = part.get("annotations")
        if type(annotations) is not Array:
            annotations = Array(annotations if isinstance(annotations, list) else ())
            part["annotations"] = annotations
        index = _position(event.get("annotation_index"))
        if index is not None and 0 <= index < len(annotations):
            annotations[index] = annotation
        else:
            annotations.append(annotation)

    def _add_response(self, kind: str, event: dict[str, Any]) -> None:
        """An event about the response as a whole, or about the progress of a call."""
        response = event.get("response")
        name, _, status = kind.rpartition(".")
        if type(response) is dict and kind in _FINAL:
            self._final = response
        elif type(response) is dict:
            # A stream that is picked up in its middle begins with what there is already.
            output = response.get("output")
            for index, item in enumerate(output if type(output) is list else ()):
                if type(item) is dict:
                    self._items.put(index, item, added=False)
            self._response = response
        elif name.endswith("_call") and status in _STATUSES:
            called = self._items.find(
                _position(event.get("output_index")), _ident(event.get("item_id"))
            )
            if called is not None:
                called.fields["status"] = status
        if kind in {"response.completed", "response.incomplete"}:
            self.complete = True

    def snapshot(self) -> dict[str, Any]:
        """The response so far, in containers of its own: the one that the last event carried, or
        one of what was told before.

        While another thread is in :meth:`add`, what that event brings may be there in part.
        """
        final = self._final
        whole: dict[str, Any] = fresh(self._response if final is None else final)
        if final is None:
            whole.setdefault("object", "response")
            whole["output"] = self._items.frozen()
        return whole
