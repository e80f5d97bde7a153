"""The chunks of Chat Completions and of (text) Completions, put together.

Which choice a delta belongs to, and what stands around it, is decided here; what becomes of the
delta itself in :mod:`.message`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

from .message import Message
from .pieces import Text, extend, fresh, frozen, grow_object, join, keep

#: Filters and usage reports come in chunks that leave these empty (or 0): that takes nothing back.
_STICKY = frozenset(
    {"id", "object", "created", "model", "service_tier", "system_fingerprint", "usage"}
)

#: Never equal to a chunk's length: the envelope of nothing.
_NO_WIDTH = -1


class _Choice:
    """What chat and text choices have in common."""

    __slots__ = ("fields", "finish_reason", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.fields: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> None:
        """One choice of one chunk."""
        raise NotImplementedError

    def frozen(self) -> dict[str, Any]:
        """The choice as it is now. From any thread."""
        raise NotImplementedError

    def add_field(self, key: str, value: Any) -> None:
        """A field that both kinds of choices treat alike; of an unknown one the last wins."""
        fields = self.fields
        if key == "finish_reason":
            if type(value) is str and value not in {"", "null"}:
                self.finish_reason = value
        elif key == "logprobs":
            # Whatever lists are in there run along the tokens: chat's content and refusal, the
            # four of text completions, those of servers that put one's into the other.
            grow_object(fields, key, value, extend)
        elif key == "content_filter_results":
            # Azure tells one category here and another there, and nothing at all with the end.
            grow_object(fields, key, value, keep)
        elif key != "index":
            keep(fields, key, value)

    def frozen_fields(self, own: dict[str, Any]) -> dict[str, Any]:
        """The choice in its usual order, after the fields that only its kind has."""
        fields = {key: frozen(value) for key, value in self.fields.copy().items()}
        if "logprobs" in fields:
            own["logprobs"] = fields.pop("logprobs")
        own["finish_reason"] = self.finish_reason
        own.update(fields)
        return own


class _ChatChoice(_Choice):
    """A choice whose message comes in deltas."""

    __slots__ = ("message",)

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.message = Message()

    def add(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if type(delta) is dict and delta:
            self.message.add(delta)
        else:
            # With a delta beside it, a message only tells once more what the deltas told.
            message = choice.get("message")
            if type(message) is dict:
                self.message.replace(message)
        for key, value in choice.items():
            if key not in {"delta", "message"}:
                self.add_field(key, value)

    def frozen(self) -> dict[str, Any]:
        return self.frozen_fields({"index": self.index, "message": self.message.frozen()})


class _TextChoice(_Choice):
    """A choice whose text comes in pieces."""

    __slots__ = ("text",)

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.text = Text()

    def add(self, choice: dict[str, Any]) -> None:
        for key, value in choice.items():
            if key == "text":
                if type(value) is str:
                    self.text.append(value)
            elif key in {"reasoning", "reasoning_content"}:
                join(self.fields, key, value)
            else:
                self.add_field(key, value)

    def frozen(self) -> dict[str, Any]:
        return self.frozen_fields({"text": "".join(self.text), "index": self.index})


def _is_plain(value: Any) -> bool:
    """Whether a value that is equal to this one is the same JSON: no nesting (which may be too deep
    to compare), no number that is equal to a boolean.
    """
    return value is None or type(value) is str or (type(value) is int and value not in {0, 1})


class _ChoicesAccumulator:
    """What the accumulators of the two kinds of completions have in common.

    Top-level fields stand in the order in which they first came; the last value wins, except that
    null never replaces anything, nor does an empty or zero value one of the documented fields.
    ``usage`` is absent until it is known. ``obfuscation``, padding against eavesdroppers, is left
    out.

    One thread calls :meth:`add`; everything else may be called from any thread at any time.
    """

    _OBJECT: ClassVar[str]
    _CHOICE: ClassVar[type[_Choice]]

    __slots__ = ("_choices", "_envelope", "_envelope_of", "_names", "_top", "_width", "empty")

    def __init__(self) -> None:
        #: Whether no chunk was added so far.
        self.empty = True
        self._top: dict[str, Any] = {}
        self._choices: dict[int, Any] = {}
        self._width = _NO_WIDTH
        self._names: list[str] = []
        self._envelope_of: Callable[[Any], Any] = itemgetter("choices")
        self._envelope: Any = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Add one chunk: any JSON object, which is not changed and not kept."""
        self.empty = False
        if not self._same_envelope(chunk):
            self._add_envelope(chunk)
        choices = chunk.get("choices")
        if type(choices) is list:
            for position, choice in enumerate(choices):
                if type(choice) is dict:
                    self._choice(choice, position).add(choice)

    def _same_envelope(self, chunk: dict[str, Any]) -> bool:
        try:
            return (
                len(chunk) - ("obfuscation" in chunk) == self._width
                and "choices" in chunk
                and bool(self._envelope_of(chunk) == self._envelope)
            )
        except KeyError:
            return False

    def _add_envelope(self, chunk: dict[str, Any]) -> None:
        top = self._top
        names = []
        plain = True
        for key, value in chunk.items():
            if key == "choices":
                top.setdefault(key, None)
            elif key != "obfuscation":
                if key not in _STICKY or value or top.get(key) is None:
                    keep(top, key, value)
                names.append(key)
                plain = plain and _is_plain(value)
        # Most chunks repeat the one before in everything but the choices and the padding. One that
        # has these fields, all equal, and as many in all, has nothing new: three calls into C in
        # place of a loop over eight fields.
        self._width = _NO_WIDTH
        if plain and names and "choices" in chunk:
            if names != self._names:
                self._names = names
                self._envelope_of = itemgetter(*names)
            self._envelope = self._envelope_of(chunk)
            self._width = len(names) + 1

    def _choice(self, choice: dict[str, Any], position: int) -> Any:
        """The choice that a choice of a chunk continues: by index, by position if it has none."""
        index = choice.get("index")
        if type(index) is not int:
            index = position
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = self._CHOICE(index)
        return known

    @property
    def complete(self) -> bool:
        """Whether a choice was seen, and each choice that was seen has a finish reason."""
        choices = self._choices.copy()
        return bool(choices) and all(choice.finish_reason for choice in choices.values())

    def snapshot(self) -> dict[str, Any]:
        """The completion so far, in containers of its own.

        While another thread is in :meth:`add`, what that chunk brings may be there in part.
        """
        found = self._choices.copy()
        choices = [found[index].frozen() for index in sorted(found)]
        whole: dict[str, Any] = {}
        for key, value in self._top.copy().items():
            if key == "choices":
                whole[key] = choices
            elif key == "object":
                whole[key] = self._whole_object(value)
            elif key != "usage" or value:
                whole[key] = fresh(value)
        whole.setdefault("object", self._OBJECT)
        whole.setdefault("choices", choices)
        return whole

    def _whole_object(self, value: Any) -> Any:
        if not value:
            return self._OBJECT
        return value.removesuffix(".chunk") if type(value) is str else fresh(value)


class ChatAccumulator(_ChoicesAccumulator):
    """The chunks of a chat completion -> the ``chat.completion``.

    ``delta`` becomes ``message``, see :class:`Message` for how; tool calls lose their ``index``;
    logprobs are concatenated. A role is there in any case, a finish reason is null until it is
    known, content is null where there is none or the message says something else in its place.
    """

    _OBJECT = "chat.completion"
    _CHOICE = _ChatChoice

    __slots__ = ("_choice_fields", "_choice_fields_of", "_choice_width", "_message")

    def __init__(self) -> None:
        super().__init__()
        self._message = Message()
        self._choice_width = _NO_WIDTH
        self._choice_fields_of: Callable[[Any], Any] = itemgetter("index")
        self._choice_fields: Any = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Add one chunk: any JSON object, which is not changed and not kept."""
        # Nearly every chunk of nearly every stream is the one before with another delta. Seeing
        # that at one blow and going straight to the message takes a third of the general way's
        # time. Any field of the choice that differs, any more or less, goes the general way.
        try:
            [choice] = chunk["choices"]
            if (
                len(choice) == self._choice_width
                and self._choice_fields_of(choice) == self._choice_fields
            ):
                delta = choice["delta"]
                piece = delta.get("content")
                if (
                    len(chunk) - ("obfuscation" in chunk) != self._width
                    or self._envelope_of(chunk) != self._envelope
                ):
                    self._add_envelope(chunk)
                if len(delta) == 1 and type(piece) is str:
                    self._message.append(piece)
                else:
                    self._message.add(delta)
                return
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        super().add(chunk)
        self._remember_choice(chunk)

    def _remember_choice(self, chunk: dict[str, Any]) -> None:
        """Note what the choice carries besides its delta, if that is all there is to compare.

        Choice 0 alone: the others are rare, and 0 is what a missing index means as well.
        """
        choices = chunk.get("choices")
        if type(choices) is not list or not choices:
            return
        choice = choices[0]
        if len(choices) == 1 and type(choice) is dict:
            index = choice.get("index")
            if type(index) is int and index != 0:
                return
            if "delta" in choice and self._remember_fields(choice):
                return
        self._choice_width = _NO_WIDTH

    def _remember_fields(self, choice: dict[str, Any]) -> bool:
        names = []
        for key, value in choice.items():
            if key != "delta":
                if not (_is_plain(value) or (key == "index" and type(value) is int)):
                    return False
                names.append(key)
        if not names:
            return False
        self._message = self._choices[0].message
        self._choice_fields_of = itemgetter(*names)
        self._choice_fields = self._choice_fields_of(choice)
        self._choice_width = len(choice)
        return True


class CompletionAccumulator(_ChoicesAccumulator):
    """The chunks of a text completion -> the whole ``text_completion``.

    ``text`` is joined, and so is reasoning where a server gives any; the lists of the logprobs are
    concatenated.
    """

    _OBJECT = "text_completion"
    _CHOICE = _TextChoice

    __slots__ = ()
