"""The chunks of Chat Completions and of (text) Completions, put together.

Which choice a delta belongs to, and what stands around it, is decided here; what becomes of the
delta itself in :mod:`.message`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from openai_stream.surrogates import joined

from .asked import UNKNOWN, Asked
from .blocks import grow
from .message import Message
from .pieces import Text, extend, fresh, frozen, grow_object, is_void, join, keep

#: Filters and usage reports come in chunks that leave these empty (or 0): that takes nothing back.
_STICKY = frozenset(
    {"id", "object", "created", "model", "service_tier", "system_fingerprint", "usage"}
)


class _Anything:
    """Equal to everything: in the place of a value that need not be the one before."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


_ANYTHING: Any = _Anything()


def is_reason(value: Any) -> bool:
    """Whether a finish reason is one."""
    return type(value) is str and value not in {"", "null"}


class _Choice:
    """What chat and text choices have in common."""

    __slots__ = ("fields", "finish_reason", "index")

    def __init__(self, index: int, tools: frozenset[str]) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.fields: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> None:
        """One choice of one chunk."""
        raise NotImplementedError

    def frozen(self) -> dict[str, Any]:
        """The choice as it is now. From any thread."""
        raise NotImplementedError

    def add_field(self, key: str, value: Any, choice: dict[str, Any]) -> None:
        """A field that both kinds of choices treat alike; of an unknown one the last wins, unless
        it is a list, which grows.
        """
        fields = self.fields
        if key == "finish_reason":
            if is_reason(value):
                self.finish_reason = value
        elif key == "logprobs":
            # Whatever lists are in there run along the tokens: chat's content and refusal, the
            # four of text completions, those of servers that put one's into the other.
            grow_object(fields, key, value, extend)
        elif key == "content_filter_results":
            # Azure tells one category here and another there, and nothing at all with the end.
            grow_object(fields, key, value, keep)
        elif key == "index":
            pass
        elif type(value) is list:
            grow(fields, key, value, is_reason(choice.get("finish_reason")))
        else:
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

    def __init__(self, index: int, tools: frozenset[str]) -> None:
        super().__init__(index, tools)
        self.message = Message(tools)

    def add(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if type(delta) is dict and delta:
            if is_reason(choice.get("finish_reason")):
                self.message.add(delta, ends=True)
            else:
                self.message.add(delta)
        else:
            # With a delta beside it, a message only tells once more what the deltas told.
            message = choice.get("message")
            if type(message) is dict:
                self.message.replace(message)
        for key, value in choice.items():
            if key not in {"delta", "message"}:
                self.add_field(key, value, choice)

    def frozen(self) -> dict[str, Any]:
        return self.frozen_fields({"index": self.index, "message": self.message.frozen()})


class _TextChoice(_Choice):
    """A choice whose text comes in pieces."""

    __slots__ = ("text",)

    def __init__(self, index: int, tools: frozenset[str]) -> None:
        super().__init__(index, tools)
        self.text = Text()

    def add(self, choice: dict[str, Any]) -> None:
        for key, value in choice.items():
            if key == "text":
                if type(value) is str:
                    self.text.append(value)
            elif key in {"reasoning", "reasoning_content"}:
                join(self.fields, key, value)
            else:
                self.add_field(key, value, choice)

    def frozen(self) -> dict[str, Any]:
        return self.frozen_fields({"text": joined("".join(self.text)), "index": self.index})


def _is_plain(value: Any) -> bool:
    """Whether a value that is equal to this one is the same JSON: no nesting (which may be too deep
    to compare), no number that is equal to a boolean.
    """
    return value is None or type(value) is str or (type(value) is int and value not in {0, 1})


def _says_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if type(delta) is dict:
        return any(key != "role" and not is_void(value) for key, value in delta.items())
    return not is_void(choice.get("text"))


def _usage_elsewhere(whole: dict[str, Any]) -> Any:
    """The usage of a server that reports it in another place while it streams, and as all others
    do otherwise: in the only choice (Moonshot), or in ``x_groq`` (Groq, if it was not asked for).
    """
    places = [*whole["choices"], whole.get("x_groq")]
    found = [one["usage"] for one in places if type(one) is dict and type(one.get("usage")) is dict]
    return found[0] if len(found) == 1 else None


class _ChoicesAccumulator:
    """What the accumulators of the two kinds of completions have in common.

    Top-level fields stand in the order in which they first came; the last value wins, except that
    null never replaces anything, nor does an empty or zero value one of the documented fields.
    ``usage`` is absent until it is known. ``obfuscation``, padding against eavesdroppers, is left
    out.

    :param asked: what is known of the request.

    One thread calls :meth:`add`; everything else may be called from any thread at any time.
    """

    _OBJECT: ClassVar[str]
    _CHOICE: ClassVar[type[_Choice]]

    __slots__ = ("_asked", "_choices", "_envelope", "_is_one", "_top", "empty")

    def __init__(self, asked: Asked = UNKNOWN) -> None:
        self._asked = asked
        #: Whether all choices are one, whatever their index.
        self._is_one = asked.one_choice
        #: Whether no chunk was added so far.
        self.empty = True
        self._top: dict[str, Any] = {}
        self._choices: dict[int, Any] = {}
        # Most chunks repeat in their envelope, which is everything but the choices and the padding,
        # what others have said, some with more fields, some with fewer. One that has nothing else
        # adds nothing: a single comparison, in place of a loop over eight fields.
        self._envelope: dict[str, Any] = {"obfuscation": _ANYTHING}

    def add(self, chunk: dict[str, Any]) -> bool:
        """Add one chunk: any JSON object, which is not changed and not kept.

        :returns: whether it is known that it has nothing but a delta that was not there before.
        """
        self.empty = False
        if not chunk.items() <= self._envelope.items():
            self._add_envelope(chunk)
        choices = chunk.get("choices")
        if type(choices) is list:
            if len(choices) > 1:
                self._is_one = False
            for position, choice in enumerate(choices):
                if type(choice) is dict:
                    self._choice(choice, position).add(choice)
        return False

    def _add_envelope(self, chunk: dict[str, Any]) -> None:
        top = self._top
        envelope = self._envelope
        for key, value in chunk.items():
            if key == "choices":
                top.setdefault(key, None)
                envelope[key] = _ANYTHING
            elif key != "obfuscation":
                if key not in _STICKY or value or top.get(key) is None:
                    keep(top, key, value)
                if _is_plain(value):
                    envelope[key] = value
                else:
                    envelope.pop(key, None)

    def _choice(self, choice: dict[str, Any], position: int) -> Any:
        """The choice that a choice of a chunk continues: by index, by position if it has none.

        There are servers that number the tokens in the place of the choices. If one choice was
        asked for, it is that one, until two come together, or more text after its finish reason.
        """
        if self._is_one and self._choices:
            [known] = self._choices.values()
            if not known.finish_reason or not _says_something(choice):
                if choice.get("index", 0) != known.index:
                    known.index = 0  # what was sent is no index of it
                return known
            self._is_one = False
        index = choice.get("index")
        if type(index) is not int:
            index = position
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = self._CHOICE(index, self._asked.tools)
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
        if "usage" not in whole and (usage := _usage_elsewhere(whole)):
            whole["usage"] = fresh(usage)
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

    __slots__ = ("_message", "_same")

    def __init__(self, asked: Asked = UNKNOWN) -> None:
        super().__init__(asked)
        #: What choices carry besides their delta, as the envelope of those that add only that.
        self._same: dict[str, Any] = {}
        #: The message that these deltas continue, once there is such a choice.
        self._message: Message

    def add(self, chunk: dict[str, Any]) -> bool:
        """Add one chunk: any JSON object, which is not changed and not kept.

        :returns: whether it has nothing but a delta that was not there before.
        """
        # Nearly every chunk of nearly every stream has nothing new but a delta. Seeing that at one
        # blow and going straight to the message takes a third of the general way's time. Any field
        # of the choice that is new, or has another value, goes the general way.
        try:
            [choice] = chunk["choices"]
            delta = choice["delta"]
            if choice.items() <= self._same.items():
                piece = delta.get("content")
                known = chunk.items() <= self._envelope.items()
                if not known:
                    self._add_envelope(chunk)
                if len(delta) == 1 and type(piece) is str:
                    self._message.append(piece)
                elif is_reason(choice.get("finish_reason")):
                    self._message.add(delta, ends=True)
                else:
                    self._message.add(delta)
                return known
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        super().add(chunk)
        self._remember_choice(chunk)
        return False

    def _remember_choice(self, chunk: dict[str, Any]) -> None:
        """Note what the choice carries besides its delta, if that is all there is to compare.

        Choice 0 alone: the others are rare, and 0 is what a missing index means as well.
        """
        choices = chunk.get("choices")
        if type(choices) is not list or not choices:
            return
        [choice, *others] = choices
        if others:
            # Choice 0 may be anywhere among them, more than once.
            self._same.clear()
            return
        if type(choice) is not dict:
            return
        index = choice.get("index")
        if type(index) is int and index != 0:
            return
        self._message = self._choice(choice, 0).message
        self._same["delta"] = _ANYTHING
        for key, value in choice.items():
            if _is_plain(value) or (key == "index" and type(value) is int):
                self._same[key] = value
            elif key != "delta":
                self._same.pop(key, None)


class CompletionAccumulator(_ChoicesAccumulator):
    """The chunks of a text completion -> the whole ``text_completion``.

    ``text`` is joined, and so is reasoning where a server gives any; the lists of the logprobs are
    concatenated.
    """

    _OBJECT = "text_completion"
    _CHOICE = _TextChoice

    __slots__ = ()
