"""The output items of a response while they grow: which item an event is about, and what becomes of
an item's pieces once the server gives it whole.
"""

from __future__ import annotations

from typing import Any

from .pieces import Node, Object, frozen, frozen_in_order, is_void

__all__ = ["Item", "Items", "Slots", "put_over", "restored"]

#: What an event about one type of item may be about, should its index lead to another: text is not
#: that of a call, whatever the index says. Calls of all types stand for each other, as there are
#: servers that stream the input of every tool as a function's arguments.
_KINDS = {
    "message": "message",
    "reasoning": "reasoning",
    "shell_call_output": "output",
    **dict.fromkeys(
        (
            *("function_call", "custom_tool_call", "mcp_call", "code_interpreter_call"),
            *("shell_call", "apply_patch_call", "web_search_call", "file_search_call"),
            *("image_generation_call",),
        ),
        "call",
    ),
}

#: The texts that arrive in pieces, and the fields of an item that hold such texts or lists.
_TEXTS = ("text", "refusal", "arguments", "input", "code", "diff", "stdout", "stderr")
_PIECES = (
    *_TEXTS,
    *("content", "summary", "action", "commands", "operation", "output"),
    *("annotations", "logprobs"),
)

#: How deep pieces are: an item, its list, a part, the part's list.
_DEPTH = 4


class Slots(dict[int, Any], Node):
    """A list whose entries arrive by index, in any order. An index costs nothing, however high it
    is: entries that never came take no room, here or in the list.
    """

    __slots__ = ()

    def newest(self) -> int:
        """The index of the entry that came last, -1 if there is none."""
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
        """The entries in order."""
        entries = self.copy()
        return [frozen(entries[index]) for index in sorted(entries)]


class Item:
    """One output item."""

    __slots__ = ("announced", "done", "fields", "id", "index")

    def __init__(self, kind: str | None) -> None:
        self.index: int | None = None
        self.id: str | None = None
        #: Whether the server gave it as an item, not only events about it; and gave it as done.
        self.announced = self.done = False
        self.fields = Object(type=kind) if kind else Object()

    def may_be(self, kind: str | None) -> bool:
        """Whether an event about an item of that type may be about this one. Of a type that is not
        known here, anything may be true.
        """
        have = self.fields.get("type")
        if have == kind or kind is None or type(have) is not str or have not in _KINDS:
            return True
        return _KINDS[have] == _KINDS.get(kind)

    def inner(self, name: str) -> Object:
        """One of the item's objects, made to grow."""
        inner = self.fields.get(name)
        if type(inner) is not Object:
            inner = self.fields[name] = Object(inner if isinstance(inner, dict) else {})
        return inner

    def slots(self, name: str, inside: str = "") -> Slots:
        """One of the item's lists, or of the lists of one of its objects, made to grow."""
        fields = self.inner(inside) if inside else self.fields
        slots = fields.get(name)
        if type(slots) is not Slots:
            slots = Slots(enumerate(slots) if isinstance(slots, list) else ())
            fields[name] = slots
        return slots


class Items(Node):
    """The output items of one response.

    An event belongs to the item with its ``output_index``; if it has none, to the item with its
    ``item_id``; if it has neither, to the item that the last event was about. The index comes first
    since there are proxies that give one item a new id with each event. The id decides if several
    items were announced with one index, and if the index is nobody's. If the index alone leads to
    an item that such an event cannot be about, the event is about the open item of its type, or
    about one that was never announced.
    """

    __slots__ = ("_by_id", "_by_index", "_items", "_newest", "_open")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._by_index: dict[int, Item] = {}
        self._by_id: dict[str, Item] = {}
        #: The item of each type that was announced last.
        self._newest: dict[str, Item] = {}
        self._open: Item | None = None

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def begun(self) -> list[Item]:
        """The items in the order in which they began; on the thread that adds."""
        return self._items

    def find(self, index: int | None, ident: str | None, kind: str | None = None) -> Item | None:
        """The item that an event is about, ``None`` if it is the first event about it.

        :param kind: the type of the items that such events are about.
        """
        named = None if ident is None else self._by_id.get(ident)
        if index is None:
            item = named if ident is not None else self._open
        else:
            item = self._by_index.get(index)
            if named is not None and (item is None or named.index == index):
                item = named
        if item is None or item is named or item.may_be(kind):
            return item
        if named is not None and named.may_be(kind):
            return named
        newest = self._newest.get(kind or "")
        return None if newest is None or newest.done else newest

    def about(self, index: int | None, ident: str | None, kind: str) -> Item:
        """The item that an event is about, made if need be."""
        # Once for each delta: what nearly all servers send is settled first.
        item = self._by_index.get(index)  # type: ignore[arg-type]  # None is nobody's index
        if item is not None and item.id == ident and item.fields.get("type") == kind:
            self._open = item
            return item
        item = self.find(index, ident, kind)
        if item is None:
            item = Item(kind)
            if ident is not None:
                item.id = item.fields["id"] = ident
                self._by_id[ident] = item
            self._items.append(item)
            self._newest[kind] = item
        if item.index is None and index is not None:
            item.index = index
            self._by_index[index] = item
        self._open = item
        return item

    def put(self, index: int | None, whole: dict[str, Any], *, added: bool, done: bool) -> None:
        """An item as the server gives it.

        :param added: it is announced: an id that is new under an index that is taken is then
            another item, of a server that numbers all of them 0; so is one with neither.
        :param done: it is given as done.
        """
        kind = whole.get("type")
        ident = _ident(whole.get("id")) or _ident(whole.get("call_id"))
        item = self._given_before(index, ident, whole, added, done)
        if item is None:
            item = Item(None)
            self._items.append(item)
        item.announced = True
        item.done = item.done or done
        item.id = ident or item.id
        for name in (ident, _ident(whole.get("call_id"))):
            if name is not None:
                self._by_id[name] = item
        put_over(item.fields, whole)
        if type(kind) is str:
            self._newest[kind] = item
        if index is not None and item.index != index:
            item.index = index
            self._by_index[index] = item
        self._open = item

    def _given_before(
        self, index: int | None, ident: str | None, whole: dict[str, Any], added: bool, done: bool
    ) -> Item | None:
        """The item that the server gives once more, ``None`` if it is a new one."""
        kind, call = whole.get("type"), _ident(whole.get("call_id"))
        kind = kind if type(kind) is str else None
        item = self.find(index, ident, kind)
        if item is None and call is not None:
            # llama.cpp calls a function call's item by its call id; a call's output has it too.
            item = self.find(index, call)
            if item is not None and item.fields.get("type") != kind:
                return None
        if item is None or not item.may_be(kind):
            return None
        if index is not None and item.index is not None and item.index != index:
            # The id of an item that has another index: either the server cannot count, or it
            # gives all of its items one id, and this is the next one.
            settled = item.announced if added else item.done or not done
            return None if settled else item
        if ident is None and index is not None:
            return item
        again = item.announced if added else item.done and done
        if again and (item.id != ident or (index is None and ident is None)):
            return None
        return item

    def completed(self, output: Any) -> Any:
        """The output of a response's last event: as it is told, except for what it leaves empty.

        :returns: what was told itself, if nothing is missing.
        """
        if not self._items:
            return output
        if type(output) is not list or not output:
            return self.frozen()
        whole = [self._restored(place, item) for place, item in enumerate(output)]
        if all(_is_silent(item) for item in whole):
            built = self.frozen()
            return output if all(_is_silent(item) for item in built) else built
        return output if all(a is b for a, b in zip(whole, output, strict=True)) else whole

    def _restored(self, place: int, told: Any) -> Any:
        """An item of a whole response, found again by its ids, or by its place, as there are
        proxies that make ids anew.
        """
        if type(told) is not dict:
            return told
        for name in ("id", "call_id"):
            item = self._by_id.get(_ident(told.get(name)) or "")
            if item is not None:
                return restored(told, item.fields)
        item = self._by_index.get(place)
        if item is None or item.fields.get("type") != told.get("type"):
            return told
        return restored(told, item.fields)

    def frozen(self) -> list[Any]:
        """The items, in order."""
        return frozen_in_order(self._items)


def _ident(value: Any) -> str | None:
    return value if type(value) is str and value else None


def _is_silent(item: Any) -> bool:
    """Whether an item says nothing: it is void, or a message of parts without a text."""
    if type(item) is not dict or item.get("type") != "message":
        return is_void(item)
    content = item.get("content")
    if type(content) is not list:
        return is_void(content)
    return all(
        type(part) is dict and all(is_void(part[name]) for name in part if name != "type")
        for part in content
    )


def put_over(fields: dict[Any, Any], whole: dict[Any, Any]) -> None:
    """What the server gives whole replaces what was known, except for what it leaves empty."""
    for key, value in whole.items():
        if key not in fields:
            fields[key] = value
        elif not is_void(value):
            fields[key] = restored(value, fields[key], _DEPTH - 1) if key in _PIECES else value


def restored(told: Any, known: Any, depth: int = _DEPTH) -> Any:
    """What the server gives whole, and in the place of each piece that it leaves out or empty the
    one that came before. Anything else stands as it is told: the server has the last word.

    :param told: is not changed; a container that differs is a new one.
    :param known: the same thing as it has grown.
    """
    if depth and type(told) is list and isinstance(known, (list, Slots)):
        known = known if isinstance(known, Slots) else dict(enumerate(known))
        entries = [
            restored(entry, known[place], depth - 1) if place in known else entry
            for place, entry in enumerate(told)
        ]
        return entries if any(a is not b for a, b in zip(entries, told, strict=True)) else told
    if not depth or type(told) is not dict or not isinstance(known, dict):
        return told
    changed = {}
    for name in _PIECES:
        if name in known:
            have = told.get(name)
            better = (
                frozen(known[name]) if is_void(have) else restored(have, known[name], depth - 1)
            )
            if better is not have and not is_void(better):
                changed[name] = better
    return {**told, **changed} if changed and _agree(told, known) else told


def _agree(told: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether two states of a thing are of one kind, and no text of theirs differs: what came with
    another text (logprobs, annotations) would be wrong beside this one.
    """
    if told.get("type") is not None and told["type"] != known.get("type"):
        return False
    return all(
        is_void(told.get(name)) or name not in known or frozen(known[name]) == told[name]
        for name in _TEXTS
    )
