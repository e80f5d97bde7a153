"""Tool calls in pieces: which fragment belongs to which call, and how its pieces add up.

OpenAI numbers its calls, names each once and cuts only the arguments. Other servers number all of
them 0 or none, give each fragment a new id, cut the names, repeat them, or begin with ``{}``. One
rule reads them all; ``docs/explanation/deltas.rst`` tells it in words, with who does what.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from .blocks import grow
from .pieces import Node, Object, frozen_in_order, index_of, join, keep
from .tool import Tool, is_blank, is_object

_KINDS = ("function", "custom")


class _Fragment:
    """One fragment of a call, and what tells whose it is."""

    __slots__ = ("fields", "given", "id", "index", "kind", "name")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.index = index_of(fields.get("index"))
        ident = fields.get("id")
        self.id: str | None = ident if type(ident) is str and ident else None
        self.kind = ""
        self.name: str | None = None
        #: The arguments.
        self.given: Any = None
        for kind in _KINDS:
            tool = fields.get(kind)
            if type(tool) is dict:
                self.kind = kind
                name = tool.get("name")
                if type(name) is str and name:
                    self.name = name
                self.given = tool.get("arguments" if kind == "function" else "input")
                break

    @property
    def brings_arguments(self) -> bool:
        """Whether it does not only name a tool."""
        return not is_blank(self.given)


class ToolCall:
    """One tool call."""

    __slots__ = ("fields", "id", "index", "tool")

    def __init__(self) -> None:
        self.index: int | None = None
        self.id: str | None = None
        self.fields = Object()
        #: What is called, as soon as that is told.
        self.tool: Tool | None = None

    def add(self, fragment: _Fragment, tools: frozenset[str]) -> None:
        fields = self.fields
        for key, value in fragment.fields.items():
            if key in _KINDS:
                self._add_tool(key, value, tools)
            elif key == "id" and self.id is not None:
                pass  # a call keeps its first id
            elif key == "index":
                pass
            elif type(value) is str:
                join(fields, key, value)
            else:
                grow(fields, key, value)
        if self.id is None:
            self.id = fragment.id

    def _add_tool(self, kind: str, piece: Any, tools: frozenset[str]) -> None:
        have = self.fields.get(kind)
        if type(piece) is not dict:
            if not isinstance(have, Tool):
                keep(self.fields, kind, piece)
            return
        if not isinstance(have, Tool):
            have = self.fields[kind] = Tool(tools, takes_json=kind == "function")
            self.tool = self.tool or have
        have.add(piece)


class ToolCalls(Node):
    """The tool calls of one message, from fragments.

    For each fragment, the first that fits:

    * A known id: its call.
    * A taken index and a new id: a call begins if the fragment has a name; otherwise the call goes
      on and keeps its first id.
    * A new index: a call begins; but arguments alone go to the open call if that has none so far.
    * Fragments side by side that nothing tells apart go to the calls of the last chunk that had as
      many, each by its place; a lone one to the open call.
    * A name where there are no arguments so far is a piece of the name, unless both are names of
      tools that were asked for.
    * A name after arguments: another one begins a call; the same one does if those arguments are a
      whole object that is not empty, and the fragment brings more.
    * Two names in one chunk are two calls.

    :param tools: the names of the tools that the model may call, where they are known.
    """

    __slots__ = (
        "_announced",
        "_by_id",
        "_by_index",
        "_calls",
        "_named",
        "_open",
        "_rows",
        "_tools",
    )

    def __init__(self, tools: frozenset[str] = frozenset()) -> None:
        self._tools = tools
        self._calls: list[ToolCall] = []
        self._by_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        self._open: ToolCall | None = None
        #: An id that came without a name, before the call that it may be of.
        self._announced: str | None = None
        #: The calls of the last chunk that had so many fragments.
        self._rows: dict[int, list[ToolCall]] = {}
        #: The calls that this chunk has named.
        self._named: set[ToolCall] = set()

    def add(self, values: list[Any]) -> None:
        """The fragments that came together in one chunk."""
        fragments = [_Fragment(value) for value in values if type(value) is dict]
        if len(fragments) > 1:
            self._add_row(fragments)
        elif fragments:
            self._named.clear()
            [fragment] = fragments
            self._add(fragment, self._candidate(fragment, fragment.index, None), is_alone=True)

    def _add_row(self, fragments: list[_Fragment]) -> None:
        self._named.clear()
        known = self._rows.get(len(fragments)) or self._by_place(len(fragments))
        indexes = Counter(fragment.index for fragment in fragments)
        row = []
        for place, fragment in enumerate(fragments):
            # An index that several share tells nothing.
            index = fragment.index if indexes[fragment.index] == 1 else None
            beside = known[place] if known else None
            call = self._candidate(fragment, index, beside)
            row.append(self._add(fragment, call, is_alone=index is not None))
        self._rows[len(fragments)] = row

    def _by_place(self, count: int) -> list[ToolCall] | None:
        """The calls that so many fragments may be of, where none came side by side so far."""
        return self._calls.copy() if len(self._calls) == count else None

    def _candidate(
        self, fragment: _Fragment, index: int | None, beside: ToolCall | None
    ) -> ToolCall | None:
        """The call that a fragment most likely continues, by all but its id and its name.

        :param index: its index, where that tells something.
        :param beside: the call that is in its place in the row of another chunk.
        """
        if index is not None and index in self._by_index:
            return self._by_index[index]
        if beside is not None and index is None:
            name = fragment.name
            if name is None or (beside.tool is not None and beside.tool.is_named(name)):
                return beside
        if fragment.index is None:
            return self._open
        call = self._by_index.get(fragment.index)
        if call is None and fragment.name is None and self._waits_for(fragment):
            return self._open
        return call

    def _waits_for(self, fragment: _Fragment) -> bool:
        """Whether the open call goes on under an index that is new: because it has had none so far,
        or because it was only named, and here are arguments of nobody.
        """
        call = self._open
        if call is None or call.index is None:
            return call is not None
        tool = call.tool
        is_named_only = tool is not None and tool.has_name and not tool.has_arguments
        return is_named_only and fragment.id is None and fragment.brings_arguments

    def _add(self, fragment: _Fragment, candidate: ToolCall | None, is_alone: bool) -> ToolCall:
        """Add a fragment to its call, and give that.

        :param is_alone: nothing beside it could be of the same call.
        """
        call = self._find(fragment, candidate, is_alone)
        index, ident = fragment.index, fragment.id
        if call is None:
            call = ToolCall()
            self._calls.append(call)
            if ident is None and self._announced is not None:
                call.id = call.fields["id"] = ident = self._announced
        if index is not None:
            if call.index is None:
                call.index = index
            if call.index == index or index not in self._by_index:
                self._by_index[index] = call
        is_new = ident is not None and ident not in self._by_id
        if ident is not None:
            self._by_id[ident] = call
        announces = is_new and call.id not in {None, ident}
        announces = announces and fragment.name is None and not fragment.brings_arguments
        self._announced = ident if announces else None
        call.add(fragment, self._tools)
        if fragment.name is not None:
            self._named.add(call)
        self._open = call
        return call

    def _find(
        self, fragment: _Fragment, candidate: ToolCall | None, is_alone: bool
    ) -> ToolCall | None:
        """The call that a fragment continues, ``None`` if it begins one."""
        ident, name = fragment.id, fragment.name
        if ident is not None and ident in self._by_id:
            known = self._by_id[ident]
            return None if self._begins_under_its_id(fragment, known) else known
        call = candidate
        if call is None or name is None:
            return call
        if ident is not None and call.id is not None:
            return None
        tool = call.tool
        if tool is None or not tool.has_name:
            return call
        if call in self._named:
            return None
        is_same = tool.is_named(name)
        if not tool.has_arguments:
            if ident is not None and not is_same:
                return None
            is_piece = is_same or (is_alone and not tool.is_another(name))
            return call if is_piece else None
        if not is_same:
            return None
        begins = fragment.brings_arguments and tool.is_whole and not tool.is_empty
        return None if begins else call

    def _begins_under_its_id(self, fragment: _Fragment, known: ToolCall) -> bool:
        """Whether a call begins although its id is known: some servers give all calls the same."""
        name, tool = fragment.name, known.tool
        if name is None or tool is None or not tool.has_name:
            return False
        if tool.is_named(name):
            again = is_object(fragment.given) and not tool.is_repeated_by(fragment.given)
            return again and tool.is_whole and not tool.is_empty
        # An index that comes late is none of another call.
        is_elsewhere = fragment.index not in self._by_index and known.index is not None
        if is_elsewhere and fragment.index is not None:
            return True
        return tool.is_whole if tool.has_arguments else tool.is_another(name)

    @property
    def begun(self) -> list[ToolCall]:
        """The calls in the order in which they began; on the thread that adds."""
        return self._calls

    def frozen(self) -> list[Any]:
        """The calls, in order."""
        return frozen_in_order(self._calls)
