"""The parts of a choice, of Chat Completions and of (text) Completions."""

from __future__ import annotations

from typing import Any, ClassVar

from openai_stream.accumulate import Asked
from openai_stream.accumulate.choices import is_reason
from openai_stream.accumulate.pieces import is_void
from openai_stream.accumulate.tool import Tool
from openai_stream.accumulate.tool_calls import ToolCalls
from openai_stream.models import unread
from openai_stream.models.chat import ChatCompletionChunk, ChunkChoice
from openai_stream.models.completions import Completion
from openai_stream.texts import ChoiceTexts, chat_text, completion_text, whole_message

from . import Finish, Part, Reasoning, Refusal, Text
from .pieces import CallProgress, Texts
from .reasoning import ReasoningTexts

__all__ = ["ChatParts", "CompletionParts"]


#: What a delta's attributes hold, unless a server sends it in another shape.
_TYPED = frozenset({"content", "tool_calls", "function_call"})

#: What text completions call reasoning.
_OF_COMPLETIONS = ("reasoning_content", "reasoning")


class _Calls:
    """The tool calls of a choice.

    Which fragment belongs to which call, and when one is whole, is told by the rules by which they
    add up. Here is told what was given.

    :param tools: the names of the tools that the model may call, where they are known.
    """

    def __init__(self, tools: frozenset[str]) -> None:
        self._tools = tools
        self._calls = ToolCalls(tools)
        #: The one call of the API before there were many.
        self._function: Tool | None = None
        self._progress: dict[object, CallProgress] = {}
        #: What may still grow, in order of beginning: its place among the calls, or the function.
        self._open: list[int | Tool] = []

    @property
    def has_begun(self) -> bool:
        """There is a call."""
        return bool(self._progress)

    def add(self, fragments: Any) -> None:
        """The fragments of a chunk."""
        if type(fragments) is dict:
            fragments = [fragments]
        if type(fragments) is list:
            begun = self._calls.begun
            known = len(begun)
            self._calls.add(fragments)
            for place in range(known, len(begun)):
                self._begin(place)

    def add_function(self, piece: Any) -> None:
        """A piece of the one call."""
        if type(piece) is dict:
            if self._function is None:
                self._function = Tool(self._tools, takes_json=True)
                self._begin(self._function)
            self._function.add(piece)

    def _begin(self, key: int | Tool) -> None:
        self._progress[key] = CallProgress(len(self._progress))
        self._open.append(key)

    def take(self) -> list[Part]:
        """What came of them, and those that are whole."""
        parts: list[Part] = []
        for key in self._open:
            ident, tool = self._at(key)
            if tool is None or not tool.has_name or tool.is_hollow:
                continue
            progress = self._progress[key]
            # An id that is yet to come belongs to the call: one without is held until the end.
            is_told = tool.is_whole and not tool.is_empty and (ident or type(key) is Tool)
            if is_told and progress.is_json(tool.arguments):
                parts += progress.complete(ident, tool.name, tool.arguments)
            else:
                parts += progress.grow(ident, tool.name, tool.arguments)
        self._open = [key for key in self._open if not self._progress[key].is_done]
        return parts

    def finish(self) -> list[Part]:
        """All that are left, as they are: nothing more comes."""
        parts: list[Part] = []
        for key in self._open:
            ident, tool = self._at(key)
            if tool is not None:
                parts += self._progress[key].complete(ident, tool.name, tool.arguments)
        self._open = []
        return parts

    def _at(self, key: int | Tool) -> tuple[str | None, Tool | None]:
        if isinstance(key, Tool):
            return None, key
        call = self._calls.begun[key]
        ident = call.fields.get("id")  # as it is in the whole answer
        return ident if type(ident) is str else None, call.tool


class _ChoiceParts:
    """The parts of a choice, whatever its chunks are.

    :param asked: what is known of the request.
    :param choice: its index.
    """

    _EVENT: ClassVar[type[ChatCompletionChunk | Completion]]

    def __init__(self, texts: ChoiceTexts, asked: Asked, choice: int) -> None:
        self._texts = texts
        self._choice = choice
        self._encodable = Texts()
        self._reasoning = ReasoningTexts()
        self._calls = _Calls(asked.tools)
        self._has_refused = False
        self._has_finished = False

    def feed(self, event: Any) -> list[Part]:
        """What a chunk adds."""
        said = self._texts(event)
        current = self._texts.current
        parts: list[Part] = []
        chosen = [
            choice
            for position, choice in enumerate(event.choices)
            if (position if choice.index is None else choice.index) == current
        ]
        for choice in chosen:
            self._add_reasoning(parts, choice)
        if said:
            self._encodable.add(parts, Text, said)
        for choice in chosen:
            self._add_rest(parts, choice)
            if is_reason(choice.finish_reason):
                parts += self._calls.finish()
                if not self._has_finished:
                    self._has_finished = True
                    parts.append(Finish(choice.finish_reason))
        return parts

    def whole(self, answer: dict[str, Any]) -> list[Part]:
        """All parts of an answer that came whole."""
        return self.feed(self._EVENT.from_dict(answer))

    def end(self) -> list[Part]:
        """What is complete only now that the answer has ended well."""
        return self._calls.finish()

    def rest(self) -> list[Part]:
        """What was held back of the texts."""
        return self._encodable.rest()

    def _add_reasoning(self, parts: list[Part], choice: Any) -> None:
        raise NotImplementedError

    def _add_rest(self, parts: list[Part], choice: Any) -> None:
        """What a choice has besides text and reasoning."""

    def _read_reasoning(self, parts: list[Part], given: dict[str, Any], ends: bool) -> None:
        if piece := self._reasoning.read(given, ends):
            self._encodable.add(parts, Reasoning, piece)


class CompletionParts(_ChoiceParts):
    """The parts of a choice of a text completion."""

    _EVENT = Completion

    def __init__(self, asked: Asked, choice: int) -> None:
        super().__init__(ChoiceTexts(completion_text, asked, choice), asked, choice)

    def _add_reasoning(self, parts: list[Part], choice: Any) -> None:
        if rest := unread(choice):
            given = {key: value for key, value in rest.items() if key in _OF_COMPLETIONS}
            self._read_reasoning(parts, given, is_reason(choice.finish_reason))


class ChatParts(_ChoiceParts):
    """The parts of a choice of a chat completion."""

    _EVENT = ChatCompletionChunk

    def __init__(self, asked: Asked, choice: int) -> None:
        super().__init__(ChoiceTexts(chat_text, asked, choice), asked, choice)
        #: What came last, if it was text or reasoning: more of it needs no closer look.
        self._goes_on: type[Text | Reasoning] | None = None

    def feed(self, event: Any) -> list[Part]:
        """What a chunk adds."""
        if self._goes_on is not None and (piece := self._more(event)):
            if self._goes_on is Text and piece.isascii():
                return [Text(piece)]
            parts: list[Part] = []
            self._encodable.add(parts, self._goes_on, piece)
            if not parts or not self._encodable.holds_nothing:
                self._goes_on = None
            return parts
        parts = super().feed(event)
        last = parts[-1] if parts else None
        # Half a character that is held, and a choice that is another one now, need a closer look.
        is_plain = self._texts.current == self._choice and self._encodable.holds_nothing
        self._goes_on = type(last) if is_plain and isinstance(last, (Text, Reasoning)) else None
        return parts

    def _more(self, event: ChatCompletionChunk) -> str | None:
        """The text or reasoning that a chunk adds which has nothing else."""
        choices = event.choices
        if len(choices) != 1:
            return None
        choice = choices[0]
        delta = choice.delta
        if (
            choice.finish_reason is not None
            or (choice.index or 0) != self._choice
            or delta.tool_calls
            or delta.refusal is not None
            or delta.function_call is not None
        ):
            return None
        rest = unread(delta)
        if self._goes_on is Text:
            return delta.content if rest is None or not any(rest.values()) else None
        return None if rest is None or delta.content else self._reasoning.more(rest)

    def _add_reasoning(self, parts: list[Part], choice: ChunkChoice) -> None:
        ends = is_reason(choice.finish_reason)
        if (rest := unread(choice.delta)) is not None:
            self._read_reasoning(parts, rest, ends)
        if not self._reasoning.has_begun and (message := whole_message(choice)) is not None:
            self._read_reasoning(parts, message, ends)

    def _add_rest(self, parts: list[Part], choice: ChunkChoice) -> None:
        delta = choice.delta
        rest = unread(delta)
        if delta.refusal:
            self._refuse(parts, delta.refusal)
        if (
            delta.tool_calls
            or delta.function_call is not None
            or (rest is not None and not rest.keys().isdisjoint(_TYPED))
        ):
            self._add_delta(parts, delta.to_dict())
        if (message := whole_message(choice)) is not None:
            self._add_message(parts, message)

    def _add_delta(self, parts: list[Part], delta: dict[str, Any]) -> None:
        for text in _refusals(delta.get("content")):
            self._refuse(parts, text)
        if "tool_calls" in delta or "function_call" in delta:
            self._calls.add(delta.get("tool_calls"))
            self._calls.add_function(delta.get("function_call"))
            parts += self._calls.take()

    def _add_message(self, parts: list[Part], message: dict[str, Any]) -> None:
        """A whole message: what no delta has told."""
        if not self._has_refused and type(message.get("refusal")) is str:
            self._refuse(parts, message["refusal"])
        if not self._has_refused:
            for text in _refusals(message.get("content")):
                self._refuse(parts, text)
        if not self._calls.has_begun:
            self._add_delta(parts, {**message, "content": None})

    def _refuse(self, parts: list[Part], text: str) -> None:
        if text:
            self._has_refused = True
            self._encodable.add(parts, Refusal, text)


def _refusals(content: Any) -> list[str]:
    """The texts of the content parts that refuse."""
    return [
        part["refusal"]
        for part in (content if type(content) is list else (content,))
        if type(part) is dict
        and part.get("type") == "refusal"
        and type(part.get("refusal")) is str
        and not is_void(part["refusal"])
    ]
