"""The events of ``/responses``, put together.

The last event carries the whole response; until it comes, one is built from the output items and
the deltas that came before. What the last event leaves empty is taken from there, too.

A response has no place for some of what is streamed: audio and its transcript, and the states of an
image on its way, which must not be taken for the image. These are in the events only; so is what
reports progress.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .output_items import Item, Items, Slots, put_over
from .pieces import Array, Object, Text, extend, fresh, is_void

#: The events that end a response, and so carry all of it.
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

#: The last words of the events that report nothing but the new status of a ``…_call`` item.
_STATUSES = frozenset(
    {"in_progress", "searching", "interpreting", "generating", "completed", "failed"}
)


class Target(NamedTuple):
    """Where the text of a kind of event belongs."""

    #: The field of the text in the ``done`` event, and in the item or the part that it belongs to.
    field: str
    #: The type of the item, should its announcement be missing.
    item: str
    #: The item's list of parts and the event's field with the place in it, if the text is a part's.
    parts: str | None = None
    position: str = ""
    #: The type of the part, should its announcement be missing.
    part: str = ""
    #: The item's object that the text is in, if it is the field of one, or a string of its list.
    inside: str = ""


_TEXTS = {
    "response.output_text": Target("text", "message", "content", "content_index", "output_text"),
    "response.refusal": Target("refusal", "message", "content", "content_index", "refusal"),
    "response.reasoning_text": Target(
        "text", "reasoning", "content", "content_index", "reasoning_text"
    ),
    "response.reasoning_summary_text": Target(
        "text", "reasoning", "summary", "summary_index", "summary_text"
    ),
    "response.function_call_arguments": Target("arguments", "function_call"),
    "response.mcp_call_arguments": Target("arguments", "mcp_call"),
    "response.custom_tool_call_input": Target("input", "custom_tool_call"),
    "response.code_interpreter_call_code": Target("code", "code_interpreter_call"),
    "response.apply_patch_call_operation_diff": Target(
        "diff", "apply_patch_call", inside="operation"
    ),
    "response.shell_call_command": Target(
        "command", "shell_call", "commands", "command_index", inside="action"
    ),
}
_PREFIXES = {
    **{f"{kind}.": target for kind, target in _TEXTS.items()},
    # What the API once called them, or other servers do: Azure, vLLM, Open Responses, gateways.
    "response.reasoning.": _TEXTS["response.reasoning_text"],
    "response.reasoning_content.": _TEXTS["response.reasoning_text"],
    "response.reasoning_summary.": _TEXTS["response.reasoning_summary_text"],
    "response.mcp_call.arguments.": _TEXTS["response.mcp_call_arguments"],
    "response.mcp_call.arguments_": _TEXTS["response.mcp_call_arguments"],
    "response.code_interpreter_call.code.": _TEXTS["response.code_interpreter_call_code"],
}
_DELTAS = {f"{prefix}delta": target for prefix, target in _PREFIXES.items()}
_DONES = {f"{prefix}done": target for prefix, target in _PREFIXES.items()}

#: The events that give a part: the item's type, its list of parts, the field with the index.
_PARTS = {
    "response.content_part.added": ("message", "content", "content_index"),
    "response.content_part.done": ("message", "content", "content_index"),
    "response.reasoning_part.added": ("reasoning", "content", "content_index"),
    "response.reasoning_part.done": ("reasoning", "content", "content_index"),
    "response.reasoning_summary_part.added": ("reasoning", "summary", "summary_index"),
    "response.reasoning_summary_part.done": ("reasoning", "summary", "summary_index"),
}

#: The second is an older name.
_ANNOTATIONS = frozenset(
    {"response.output_text.annotation.added", "response.output_text_annotation.added"}
)


def _position(value: Any) -> int | None:
    return value if type(value) is int else None


def _begin(fields: dict[Any, Any], key: Any, piece: str) -> None:
    """The first piece of a text, behind what was in its place."""
    have = fields.get(key)
    fields[key] = Text((have, piece) if type(have) is str and have else (piece,))


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
        self._items = Items()

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
                fields, key = self._place(event, target)
                text = fields.get(key)
                if type(text) is Text:
                    text.append(piece)
                else:
                    _begin(fields, key, piece)
                if event.get("logprobs"):
                    extend(fields, "logprobs", event["logprobs"])
        elif (target := _DONES.get(kind)) is not None:
            self._add_whole_text(event, target)
        else:
            self._add_structure(kind, event)

    @property
    def items(self) -> list[Item]:
        """The output items in the order in which they began; on the thread that adds."""
        return self._items.begun

    def subject(self, event: dict[str, Any]) -> tuple[Item, Target] | None:
        """The item, and what of it, that an event about a text belongs to: one that was added last.
        ``None``: it is an event of another kind.
        """
        kind = event.get("type")
        target = (_DELTAS.get(kind) or _DONES.get(kind)) if type(kind) is str else None
        return None if target is None else (self._item(event, target.item), target)

    def growing_text(self, event: dict[str, Any], target: Target) -> Text | None:
        """The text that a delta was a piece of: one that was added last."""
        fields, key = self._place(event, target)
        text = fields.get(key)
        return text if type(text) is Text else None

    def _item(self, event: dict[str, Any], kind: str) -> Item:
        """The item that an event is about."""
        index, ident = event.get("output_index"), event.get("item_id")
        return self._items.about(
            index if type(index) is int else None,
            ident if type(ident) is str and ident else None,
            kind,
        )

    def _place(self, event: dict[str, Any], target: Target) -> tuple[dict[Any, Any], Any]:
        """Where the text is that an event is about: the fields that hold it, and which of them."""
        item = self._item(event, target.item)
        parts = target.parts
        if parts is None:
            return (item.inner(target.inside) if target.inside else item.fields), target.field
        told = event.get(target.position)
        index = told if type(told) is int else None
        if target.part:
            slots = item.fields.get(parts)
            if type(slots) is not Slots:
                slots = item.slots(parts)
            part = None if index is None else slots.get(index)
            return (part if type(part) is Object else slots.at(index, target.part)), target.field
        slots = item.slots(parts, target.inside)
        return slots, max(slots.newest(), 0) if index is None else index

    def _add_whole_text(self, event: dict[str, Any], target: Target) -> None:
        fields, key = self._place(event, target)
        if target.field in event:
            text = event[target.field]
            # A text that has begun is worth more than a value of the wrong type.
            if type(fields.get(key)) is not Text or type(text) is str:
                put_over(fields, {key: text})
        if "logprobs" in event:
            put_over(fields, {"logprobs": event["logprobs"]})

    def _add_structure(self, kind: str, event: dict[str, Any]) -> None:
        """An event that is not about text."""
        if kind in {"response.output_item.added", "response.output_item.done"}:
            item = event.get("item")
            if type(item) is dict:
                added = kind == "response.output_item.added"
                index = _position(event.get("output_index"))
                self._items.put(index, item, added=added, done=not added)
        elif kind in _PARTS:
            self._add_part(kind, event)
        elif kind in _ANNOTATIONS:
            self._add_annotation(event)
        elif kind == "response.shell_call_command.added":
            self._add_command(event)
        elif kind == "response.shell_call_output_content.delta":
            self._add_shell_output(event)
        elif kind == "response.shell_call_output_content.done":
            self._add_whole_shell_output(event)
        elif kind.startswith("response."):
            self._add_response(kind, event)

    def _add_part(self, kind: str, event: dict[str, Any]) -> None:
        part = event.get("part")
        if type(part) is dict:
            item, field, index_field = _PARTS[kind]
            if part.get("type") == "reasoning_text":
                item = "reasoning"
            parts = self._item(event, item).slots(field)
            index = _position(event.get(index_field))
            if index is None and kind.endswith(".added"):
                index = parts.newest() + 1
            put_over(parts.at(index), part)

    def _add_annotation(self, event: dict[str, Any]) -> None:
        annotation = event.get("annotation")
        if annotation is None:
            return
        part, _ = self._place(event, _TEXTS["response.output_text"])
        annotations = part.get("annotations")
        if type(annotations) is not Array:
            annotations = Array(annotations if isinstance(annotations, list) else ())
            part["annotations"] = annotations
        index = _position(event.get("annotation_index"))
        if index is not None and 0 <= index < len(annotations):
            annotations[index] = annotation
        else:
            annotations.append(annotation)

    def _add_command(self, event: dict[str, Any]) -> None:
        command = event.get("command")
        if type(command) is str:
            commands = self._item(event, "shell_call").slots("commands", "action")
            index = _position(event.get("command_index"))
            put_over(commands, {commands.newest() + 1 if index is None else index: command})

    def _shell_outputs(self, event: dict[str, Any]) -> tuple[Slots, int]:
        outputs = self._item(event, "shell_call_output").slots("output")
        index = _position(event.get("command_index"))
        return outputs, max(outputs.newest(), 0) if index is None else index

    def _add_shell_output(self, event: dict[str, Any]) -> None:
        delta = event.get("delta")
        if type(delta) is dict:
            outputs, index = self._shell_outputs(event)
            output = outputs.at(index)
            for name in ("stdout", "stderr"):
                text = output.setdefault(name, "")  # readers may rely on both
                piece = delta.get(name)
                if type(piece) is not str:
                    continue
                if type(text) is Text:
                    text.append(piece)
                else:
                    _begin(output, name, piece)

    def _add_whole_shell_output(self, event: dict[str, Any]) -> None:
        """What one command printed, and how it ended: in one piece, or in several."""
        told = event.get("output")
        pieces = [piece for piece in told if type(piece) is dict] if type(told) is list else []
        if all(is_void(value) for piece in pieces for value in piece.values()):
            return
        whole = dict(pieces[-1])
        for name in ("stdout", "stderr"):
            texts = [piece[name] for piece in pieces if type(piece.get(name)) is str]
            if texts:
                whole[name] = "".join(texts)
        outputs, index = self._shell_outputs(event)
        outputs.at(index).update(whole)

    def _add_response(self, kind: str, event: dict[str, Any]) -> None:
        """An event about the response as a whole, or about the progress of a call."""
        response = event.get("response")
        name, _, status = kind.rpartition(".")
        if kind in _FINAL:
            self._final = self._completed(response if type(response) is dict else {}, status)
            self.complete = kind != "response.failed"
        elif kind == "response.done" and type(response) is dict:
            # What some gateways end with. The response says how it ended.
            self._final = self._completed(response, "completed")
            self.complete = response.get("status") in (None, "", "completed", "incomplete")
        elif type(response) is dict:
            # A stream that is picked up in its middle begins with what there is already.
            output = response.get("output")
            for index, item in enumerate(output if type(output) is list else ()):
                if type(item) is dict:
                    self._items.put(index, item, added=False, done=False)
            self._response = _with_missing(response, self._response)
        elif name.endswith("_call") and status in _STATUSES:
            ident = event.get("item_id")
            kind = name[len("response.") :]
            called = self._items.find(
                _position(event.get("output_index")),
                ident if type(ident) is str and ident else None,
                kind,
            )
            if called is not None and called.may_be(kind):
                called.fields["status"] = status

    def _completed(self, response: dict[str, Any], status: str) -> dict[str, Any]:
        """The response of the last event, and for what it leaves empty what came before.

        Some servers send it without ``output``, or no more than the id and the usage.
        """
        told = response.get("output")
        output = self._items.completed(told)
        if output is not told:
            response = {**response, "output": output}
        if type(told) is list and told:
            return response
        if is_void(response.get("status")):
            response = {**response, "status": status}
        return _with_missing(response, self._response)

    def snapshot(self) -> dict[str, Any]:
        """The response so far, in containers of its own: the one that the last event carried, or
        one of what came before.

        While another thread is in :meth:`add`, what that event brings may be there in part.
        """
        final = self._final
        whole: dict[str, Any] = fresh(self._response if final is None else final)
        if final is None:
            whole.setdefault("object", "response")
            whole["output"] = self._items.frozen()
        return whole


def _with_missing(response: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """A response, and the fields that only an earlier state of it had."""
    missing = {
        name: value
        for name, value in earlier.items()
        if name not in response or (response[name] is None and value is not None)
    }
    return {**response, **missing} if missing else response
