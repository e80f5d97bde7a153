"""Lists and objects in deltas: reasoning blocks, images, citations, whatever servers add.

The API has no rule for them, and servers send them in pieces. One rule for all of them, at any
level: nothing is lost, and nothing doubled.

* An object grows by its keys. Of its strings, those that are text (:data:`GROWING`) are joined; of
  any other the last wins. What is nested in it grows in the same way.
* Entries of a list that have an ``index`` are one entry where they have the same.
* Other entries are added, unless a list begins with all that is there: then it is the list so far,
  and replaces it. Numbers are always added: they are tokens.
* A block whose text is all that came in two or more pieces repeats them, if it brings a new key or
  comes with the finish reason. To begin with what is there would not do: "1" is followed by "11".
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from .pieces import Node, Object, Text, frozen, index_of, is_void, join, keep

#: The strings of an object or a list entry that come in pieces.
GROWING = frozenset(
    {
        "text",
        "content",
        "reasoning",
        "reasoning_content",
        "thinking",
        "summary",
        "refusal",
        "transcript",
        "arguments",
        "input",
    }
)

#: A list entry that has nothing but these and a text is a piece, not a whole block.
_OF_A_PIECE = frozenset({"type", "id", "format", "index"})

#: Nobody nests deeper what comes in pieces; of what does the last wins.
_DEEPEST = 12


def add_field(fields: dict[str, Any], key: str, value: Any, ends: bool = False) -> None:
    """One field of a delta, which the API may not have: as :func:`.pieces.join`, but lists and
    objects grow.

    :param ends: it came with the finish reason.
    """
    if type(value) is not str or isinstance(fields.get(key), Node):
        grow(fields, key, value, ends)
    else:
        join(fields, key, value)


def grow(fields: dict[str, Any], key: str, value: Any, ends: bool = False, depth: int = 0) -> None:
    """A list or an object continues the one before; of anything else the last wins.

    Where the shape changes, what was there and what comes are the entries of a list.

    :param ends: it came with the finish reason.
    """
    have = fields.get(key)
    kind = type(value)
    is_growing = isinstance(have, (Block, Blocks))
    if (kind is not dict and kind is not list) or depth > _DEEPEST:
        if not is_growing:
            keep(fields, key, value)
        elif kind is str and value:
            _listed(fields, key, depth).add([value], ends)
    elif kind is dict and not isinstance(have, Blocks):
        if isinstance(have, Block):
            have.add(value, ends)
        elif type(have) is Text and have:
            if value:
                _listed(fields, key, depth).add([value], ends)
        elif value or is_void(have):
            block = fields[key] = Block(depth)
            block.add(value, ends)
    elif value or is_void(have):
        _listed(fields, key, depth).add(value if kind is list else [value], ends)


def _listed(fields: dict[str, Any], key: str, depth: int) -> Blocks:
    """The list at a key; what is there in another shape becomes its first entry."""
    have = fields.get(key)
    if not isinstance(have, Blocks):
        kept = (type(have) is Text and have) or isinstance(have, Block)
        have = fields[key] = Blocks(depth, [have] if kept else [])
    return have


class Block(Node):
    """An object in pieces.

    :param depth: how deep it is nested.
    :param growing: the strings that are joined.
    """

    __slots__ = ("_depth", "_growing", "_lengths", "fields", "index")

    def __init__(self, depth: int = 0, growing: frozenset[str] = GROWING) -> None:
        self.fields = Object()
        #: Of a list entry, where it has one.
        self.index: int | None = None
        self._depth = depth
        self._growing = growing
        self._lengths: dict[str, int] = {}

    def add(self, value: dict[str, Any], ends: bool = False) -> None:
        """A piece of it.

        :param ends: it came with the finish reason.
        """
        fields = self.fields
        may_repeat: bool | None = None
        for key, item in value.items():
            if type(item) is not str:
                grow(fields, key, item, ends, self._depth + 1)
            elif key in self._growing:
                if may_repeat is None:
                    may_repeat = ends or self._brings_a_key(value)
                self._add_text(key, item, may_repeat)
            elif item or fields.get(key) is None:
                fields[key] = item

    def _brings_a_key(self, value: dict[str, Any]) -> bool:
        fields = self.fields
        return any(is_void(fields.get(key)) and not is_void(item) for key, item in value.items())

    def _add_text(self, key: str, piece: str, may_repeat: bool) -> None:
        have = self.fields.get(key)
        if type(have) is not Text:
            if piece or have is None:
                self.fields[key] = Text((piece,) if piece else ())
                self._lengths[key] = len(piece)
            return
        if not piece:
            return
        length = self._lengths[key]
        if may_repeat and length == len(piece) and len(have) > 1 and "".join(have) == piece:
            return
        have.append(piece)
        self._lengths[key] = length + len(piece)

    def frozen(self) -> dict[str, Any]:
        """The object so far."""
        return {key: frozen(item) for key, item in self.fields.copy().items()}


class _Run:
    """List entries without index that follow each other and are pieces of one text."""

    __slots__ = ("key", "keys", "kind", "length", "pieces", "start")

    def __init__(self, start: int, kind: Any, key: str) -> None:
        self.start = start
        self.kind = kind
        self.key = key
        self.pieces = 0
        self.length = 0
        self.keys: set[str] = set()

    def add(self, entry: dict[str, Any]) -> None:
        piece = entry[self.key]
        self.pieces += bool(piece)
        self.length += len(piece)
        self.keys.update(key for key, item in entry.items() if not is_void(item))

    def may_be_repeated_by(self, entry: dict[str, Any], ends: bool) -> bool:
        return (
            self.pieces > 1
            and self.length == len(entry[self.key])
            and (ends or any(key not in self.keys and not is_void(entry[key]) for key in entry))
        )


class Blocks(Node):
    """A list in pieces.

    :param depth: how deep it is nested.
    :param entries: what is there already.
    """

    __slots__ = ("_depth", "_entries", "_latest", "_numbered", "_run")

    def __init__(self, depth: int, entries: list[Any]) -> None:
        self._entries = entries
        self._depth = depth
        self._numbered: dict[tuple[int, str | None], Block] = {}
        self._latest: dict[int, tuple[str | None, Block]] = {}
        self._run: _Run | None = None

    def add(self, items: list[Any], ends: bool = False) -> None:
        """What came together.

        :param ends: it came with the finish reason.
        """
        if self._is_begun_by(items):
            self._entries = list(items)
            self._run = None
            return
        for item in items:
            if type(item) is not dict:
                self._entries.append(item)
                self._run = None
            elif (index := index_of(item.get("index"))) is not None:
                self._block(index, item.get("type")).add(item, ends)
            else:
                self._add_entry(item, ends)

    def _is_begun_by(self, items: list[Any]) -> bool:
        """Whether the items are all that is there, perhaps with more after it."""
        if all(type(item) in (int, float) for item in items):
            return False
        return begins_with(items, self._entries)

    def _block(self, index: int, kind: Any) -> Block:
        """The entry with an index. Some servers number each type of their own."""
        if type(kind) is not str or not kind:
            kind = None
        block = self._numbered.get((index, kind))
        latest = self._latest.get(index)
        if block is None and latest is not None and (kind is None or latest[0] is None):
            block = latest[1]
        if block is None:
            block = Block(self._depth + 1)
            block.index = index
            self._entries.append(block)
            self._run = None
        if kind is None and latest is not None:
            kind = latest[0]
        self._numbered[index, kind] = block
        self._latest[index] = kind, block
        return block

    def _add_entry(self, entry: dict[str, Any], ends: bool) -> None:
        """An entry without index."""
        key = next((key for key in entry if key in GROWING and type(entry[key]) is str), None)
        if key is None:
            self._entries.append(entry)
            self._run = None
            return
        run = self._run
        if run is None or run.key != key or run.kind != entry.get("type"):
            run = self._run = _Run(len(self._entries), entry.get("type"), key)
        elif run.may_be_repeated_by(entry, ends):
            pieces = self._entries[run.start :]
            if "".join(piece[key] for piece in pieces) == entry[key]:
                self._entries[run.start :] = [entry]
                self._run = None
                return
        run.add(entry)
        self._entries.append(entry)

    def frozen(self) -> list[Any]:
        """The list so far: by index, and entries without one where they came."""
        placed = [
            (
                position if not isinstance(entry, Block) or entry.index is None else entry.index,
                entry,
            )
            for position, entry in enumerate(list(self._entries))
        ]
        placed.sort(key=itemgetter(0))
        return [frozen(entry) for _, entry in placed]


def begins_with(items: list[Any], entries: list[Any]) -> bool:
    """Whether a list is all entries that came before, perhaps with more after them."""
    if not entries or len(items) < len(entries):
        return False
    try:
        if items[: len(entries)] != entries:
            return False
    except RecursionError:  # nested too deep to compare
        return False
    # "ha", "ha": two pieces that happen to be the same.
    return len(items) > len(entries) or not all(map(is_piece, entries))


def is_piece(entry: Any) -> bool:
    """Whether a list entry is a piece of a text, not a whole block."""
    if type(entry) is not dict:
        return False
    texts = [key for key, item in entry.items() if key in GROWING and item]
    others = [key for key, item in entry.items() if key not in GROWING and not is_void(item)]
    return bool(texts) and _OF_A_PIECE.issuperset(others)
