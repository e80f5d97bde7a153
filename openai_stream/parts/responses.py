"""The parts of a response."""

from __future__ import annotations

from typing import Any

from openai_stream.accumulate.json_object import ObjectScanner
from openai_stream.accumulate.output_items import Item
from openai_stream.accumulate.pieces import Text as GrowingText
from openai_stream.accumulate.pieces import frozen
from openai_stream.accumulate.responses import ResponseAccumulator, Target
from openai_stream.models.responses import ResponseEvent
from openai_stream.surrogates import joined

from . import Finish, Part, Reasoning, Refusal, Text
from .pieces import CallProgress, Texts, as_json_text

__all__ = ["ResponseParts"]

_Kind = type[Text | Reasoning | Refusal]

#: The tools that the program runs, and the field with what they are given. Of the tools that run at
#: the server there is nothing to do.
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_TEXTUAL = ("message", "reasoning")

#: What texts are, by the type of their item and their field.
_KINDS: dict[tuple[str, str], _Kind] = {
    ("message", "text"): Text,
    ("message", "refusal"): Refusal,
    ("reasoning", "text"): Reasoning,
}


class _Call:
    """A call that grows."""

    def __init__(self, index: int) -> None:
        self.progress = CallProgress(index)
        self._scanner = ObjectScanner()
        self._scanned: Any = None
        self._position = 0

    def grow(self, fields: dict[str, Any]) -> list[Part]:
        """What is new.

        :param fields: of the call's item.
        """
        ident, name, given = _call_of(fields)
        if self.progress.is_done or not name:
            return []
        if fields.get("type") == "function_call":
            self._scan(given)
            if self._scanner.is_empty:  # not an argument so far
                return []
            is_told = self._scanner.is_whole and ident is not None
            if is_told and self.progress.is_json(given):
                return self.finish(fields)
        return self.progress.grow(ident, name, given)

    def _scan(self, given: Any) -> None:
        if given is not self._scanned:
            self._scanner, self._scanned, self._position = ObjectScanner(), given, 0
        pieces = given if type(given) is GrowingText else [as_json_text(given)]
        for piece in pieces[self._position :]:
            self._scanner.feed(piece)
        self._position = len(pieces)

    def finish(self, fields: dict[str, Any]) -> list[Part]:
        """The call as it is: nothing more comes."""
        return [] if self.progress.is_done else self.progress.complete(*_call_of(fields))


def _is_call(fields: dict[str, Any]) -> bool:
    """Whether an item is a call that the program is to run."""
    kind = fields.get("type")
    return type(kind) is str and kind in _CALLS


def _call_of(fields: dict[str, Any]) -> tuple[str | None, str, Any]:
    """Id, name and arguments of a call's item."""
    ident, name = fields.get("call_id"), fields.get("name")
    field = _CALLS[fields["type"]] if _is_call(fields) else "arguments"
    given = fields.get(field)
    # There are servers that stream the input of every tool as a function's arguments.
    if not given and field == "input":
        given = fields.get("arguments")
    return (
        ident if type(ident) is str and ident else None,
        name if type(name) is str else "",
        given,
    )


class ResponseParts:
    """The parts of a response, which is all choice 0.

    The events are put together beside, by the rules by which the whole response is: which item an
    event is about, and what is new in it when it is closed, is then there to be seen. The plain
    deltas of a text that has begun are spared that, but for their text.
    """

    def __init__(self) -> None:
        self._answer = ResponseAccumulator()
        self._encodable = Texts()
        #: The pieces of the texts that were given.
        self._given: dict[tuple[Item, _Kind], list[str]] = {}
        #: The items that were done when they were looked at last.
        self._settled: set[Item] = set()
        self._calls: dict[Item, _Call] = {}
        #: The list of an item that reasoning is read from: its content, or the summary of it.
        self._thoughts: str | None = None
        self._has_finished = False
        #: The place of the text that grows, its pieces, and what was given of its item.
        self._place: tuple[Any, Any, Any] | None = None
        self._text: list[str] = []
        self._text_given: list[str] = []

    def feed(self, event: ResponseEvent) -> list[Part]:
        """What an event adds."""
        parts: list[Part] = []
        if event.type == "response.output_text.delta":
            place = (event.output_index, event.item_id, event.content_index)
            piece = event.delta
            if place == self._place and type(piece) is str:
                self._text.append(piece)
                self._text_given.append(piece)
                self._encodable.add(parts, Text, piece)
                return parts
            raw = event.to_dict()
            self._add(parts, raw)
            self._follow(place, raw)
        else:
            self._place = None
            self._add(parts, event.to_dict())
        return parts

    def whole(self, answer: dict[str, Any]) -> list[Part]:
        """All parts of a response that came whole."""
        status = answer.get("status")
        if status not in ("completed", "incomplete"):
            return []
        event = {"type": f"response.{status}", "response": answer}
        return self.feed(ResponseEvent.from_dict(event))

    def end(self) -> list[Part]:
        """What is complete only now that the response has ended well: nothing, its last event says
        that it ends.
        """
        return []

    def rest(self) -> list[Part]:
        """What was held back of the texts."""
        return self._encodable.rest()

    def _follow(self, place: tuple[Any, Any, Any], event: dict[str, Any]) -> None:
        """The next deltas of this text need no closer look, if they say whose they are."""
        self._place = None
        subject = self._answer.subject(event)
        if subject is None or place[:2] == (None, None):
            return
        item, target = subject
        text = self._answer.growing_text(event, target)
        given = self._given_of(item, Text)
        if text is not None and given:
            self._place, self._text, self._text_given = place, text, given

    def _add(self, parts: list[Part], event: dict[str, Any]) -> None:
        """Any event."""
        if self._has_finished:
            return
        self._answer.add(event)
        if self._answer.complete:
            self._finish(parts)
            return
        kind = event.get("type")
        subject = self._answer.subject(event)
        if subject is not None:
            item, target = subject
            if type(event.get("delta")) is str:
                self._grow(parts, item, target, event["delta"])
            else:
                self._catch_up(parts, item)
                if target.field in _CALLS.values():
                    self._close(parts, item)
        elif type(kind) is str and kind.endswith((".done", ".added")):
            for item in self._answer.items:
                if _is_call(item.fields):
                    self._call(item)  # it begins here, whichever is whole first
                if item not in self._settled:
                    self._catch_up(parts, item)
                    if item.done:
                        self._settled.add(item)
                        self._close(parts, item)

    def _grow(self, parts: list[Part], item: Item, target: Target, piece: str) -> None:
        """A delta of an item."""
        if _is_call(item.fields):
            parts += self._call(item).grow(item.fields)
            return
        if target.item == "reasoning":
            if piece and self._thoughts is None:
                self._thoughts = target.parts
            if target.parts != self._thoughts:
                return
        kind = _KINDS.get((target.item, target.field))
        if kind is None:
            return
        given = self._given_of(item, kind)
        if given:
            given.append(piece)
            self._encodable.add(parts, kind, piece)
        else:
            self._catch_up(parts, item)

    def _catch_up(self, parts: list[Part], item: Item) -> None:
        """What the texts of an item have that was not given."""
        if item.fields.get("type") in _TEXTUAL:
            for kind, text in self._texts_of([frozen(item.fields)]).items():
                self._give(parts, kind, self._given_of(item, kind), text)

    def _give(self, parts: list[Part], kind: _Kind, given: list[str], text: str) -> None:
        have = joined("".join(given))
        if len(text) > len(have) and text.startswith(have):
            given.append(text[len(have) :])
            self._encodable.add(parts, kind, given[-1])

    def _close(self, parts: list[Part], item: Item) -> None:
        """The arguments of an item are whole."""
        if _is_call(item.fields):
            ident, name, _ = _call_of(item.fields)
            if name and ident is not None:  # which may come later, with the item
                parts += self._call(item).finish(item.fields)

    def _call(self, item: Item) -> _Call:
        call = self._calls.get(item)
        if call is None:
            call = self._calls[item] = _Call(len(self._calls))
        return call

    def _given_of(self, item: Item, kind: _Kind) -> list[str]:
        """The pieces of an item's texts of one kind that were given."""
        return self._given.setdefault((item, kind), [])

    def _texts_of(self, output: Any) -> dict[_Kind, str]:
        """The texts in output items."""
        found: dict[_Kind, list[str]] = {Reasoning: [], Text: [], Refusal: []}
        for item in output if type(output) is list else ():
            if type(item) is not dict:
                continue
            if item.get("type") == "message":
                for part in _entries(item, "content"):
                    if part.get("type") == "output_text":
                        _append(found[Text], part.get("text"))
                    elif part.get("type") == "refusal":
                        _append(found[Refusal], part.get("refusal"))
            elif item.get("type") == "reasoning":
                if self._thoughts is None:
                    lists = ("content", "summary")
                    has_text = (one for one in lists if any(_thoughts(item, one)))
                    self._thoughts = next(has_text, None)
                if self._thoughts is not None:
                    found[Reasoning] += _thoughts(item, self._thoughts)
        return {kind: "".join(texts) for kind, texts in found.items()}

    def _finish(self, parts: list[Part]) -> None:
        """The last event has come: what only the whole response has, and why it ends."""
        self._has_finished = True
        whole = self._answer.snapshot()
        output = whole.get("output")
        for kind, text in self._texts_of(output).items():
            given = [piece for item in self._answer.items for piece in self._given_of(item, kind)]
            self._give(parts, kind, given, text)
        told = [one for one in output if type(one) is dict] if type(output) is list else []
        self._finish_calls(parts, [one for one in told if _is_call(one)])
        reason = "completed"
        if whole.get("status") == "incomplete":
            details = whole.get("incomplete_details")
            found = details.get("reason") if type(details) is dict else None
            reason = found if type(found) is str and found else "incomplete"
        parts.append(Finish(reason))

    def _finish_calls(self, parts: list[Part], told: list[dict[str, Any]]) -> None:
        """The calls of the whole response: those that were given are so by their ids, or by their
        places, as there are proxies that make ids anew.
        """
        begun = [
            item for item in self._answer.items if item in self._calls or _is_call(item.fields)
        ]
        by_id = {_call_of(item.fields)[0]: item for item in begun}
        for place, fields in enumerate(told):
            ident = _call_of(fields)[0]
            item = by_id.get(ident) if ident is not None else None
            if item is None and len(begun) == len(told):
                item = begun[place]
            if item is None:
                item = Item(None)  # nothing was heard of it
            parts += self._call(item).finish(fields)


def _append(texts: list[str], text: Any) -> None:
    if type(text) is str:
        texts.append(text)


def _entries(item: dict[str, Any], name: str) -> list[dict[str, Any]]:
    parts = item.get(name)
    return [part for part in parts if type(part) is dict] if type(parts) is list else []


def _thoughts(item: dict[str, Any], name: str) -> list[str]:
    """The texts of one of the lists of a reasoning item."""
    return [text for part in _entries(item, name) if type(text := part.get("text")) is str and text]
