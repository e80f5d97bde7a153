"""The walls of the house: which module may import which, and who may know whose privates.

The order of the floors is the tables in CONTRIBUTING.rst, "Where things are". What is read is the
source alone, with its imports for type checkers and those inside of functions: an import that only
a type checker sees ties two modules together as firmly, for whoever reads them.

What does not hold yet is listed below. A line there that has become needless fails the test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from test_seams import SEAMS

ROOT = Path(__file__).parent.parent
PACKAGE = "openai_stream"
#: More lines than this are two subjects.
MOST_LINES = 400

#: Walls that are still to be built: what :func:`broken` says of the package, word for word.
EXCEPTIONS: set[str] = set()

#: Names with an underscore that their owners document.
DOCUMENTED = {"_current_frames", "_exit", "_replace", "_value_"}


# Reading ---------------------------------------------------------------------------------------


@attrs.define
class Module:
    """What a module's source says of its walls.

    :param name: dotted, below the package; ``""`` is the package's own ``__init__``.
    :param imports: modules of the package, each with the line.
    :param own: the names with an underscore that it binds.
    :param used: those that it uses, with the line.
    :param classes: of each class the names of its bases, and the private names that it binds.
    """

    name: str
    lines: int
    imports: dict[str, int]
    own: set[str]
    used: list[tuple[int, str]]
    classes: dict[str, tuple[list[str], set[str]]]
    acts: bool

    @property
    def shown(self) -> str:
        return self.name.replace(".", "/") or "__init__"


def house(root: Path) -> dict[str, Module]:
    """All modules of a package, by name.

    :param root: its folder.
    """
    trees = {}
    for path in sorted(root.rglob("*.py")):
        *folders, stem = path.relative_to(root).with_suffix("").parts
        is_package = stem == "__init__"
        name = ".".join(folders if is_package else [*folders, stem])
        trees[name] = (path.read_text(), is_package)
    return {
        name: _module(root.name, name, text, is_package, trees.keys())
        for name, (text, is_package) in trees.items()
    }


def _module(package: str, name: str, text: str, is_package: bool, known: Iterable[str]) -> Module:
    tree = ast.parse(text)
    module = Module(name, text.count("\n"), {}, set(), [], {}, acts=_acts(tree))
    folder = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        for target in _imported(package, folder, node, known):
            if target != name:
                module.imports.setdefault(target, node.lineno)  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom):
            module.used += [
                (node.lineno, alias.name) for alias in node.names if _private(alias.name)
            ]
    _walk_names(tree, module, None)
    return module


def _imported(package: str, folder: str, node: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """The modules of the package that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first, _, rest = alias.name.partition(".")
            if first == package and rest in known:
                yield rest
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            parts = folder.split(".") if folder else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
        else:
            first, _, base = (node.module or "").partition(".")
            if first != package:
                return
        for alias in node.names:
            whole = f"{base}.{alias.name}".strip(".")
            yield whole if whole in known else base


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


_NAMED_BY_TEXT = {"getattr", "setattr", "hasattr", "delattr"}


def _walk_names(tree: ast.AST, module: Module, cls: str | None) -> None:
    """Collect what a module binds and uses of names with an underscore.

    :param cls: the class that the tree is part of.
    """
    bound = module.classes[cls][1] if cls is not None else set()
    for node in ast.iter_child_nodes(tree):
        inner = cls
        names: list[str] = []
        if isinstance(node, ast.ClassDef):
            names = [node.name]
            inner = node.name
            module.classes[inner] = ([_last_name(base) for base in node.bases], set())
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if isinstance(tree, (ast.Tuple, ast.Assign)) else []
        elif isinstance(node, ast.Attribute) and _private(node.attr):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_own = is_own or _last_name(node.value) == "super"
            if is_own and isinstance(node.ctx, ast.Store):
                names = [node.attr]
            else:
                module.used.append((node.lineno, node.attr))
        elif isinstance(node, ast.Call) and _last_name(node.func) in _NAMED_BY_TEXT:
            told = node.args[1] if len(node.args) > 1 else None
            if isinstance(told, ast.Constant) and _private(str(told.value)):
                module.used.append((node.lineno, str(told.value)))
        private = {name for name in names if _private(name)}
        bound |= private
        module.own |= private
        _walk_names(node, module, inner)


def _last_name(node: ast.AST) -> str:
    if isinstance(node, (ast.Call, ast.Subscript)):
        return _last_name(node.func if isinstance(node, ast.Call) else node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _acts(tree: ast.Module) -> bool:
    """Whether a module has a function that does anything: otherwise it is a table of data."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in node.body:
                value = statement.value if isinstance(statement, ast.Expr) else None
                if not isinstance(value, ast.Constant):  # neither a docstring nor "..."
                    return True
    return False


def floors(text: str) -> list[str]:
    """The places of the house from the highest floor to the lowest, as the picture names them.

    :param text: of CONTRIBUTING.rst.
    """
    section = re.search(r"^Where things are\n-+\n(.*?)^[^\n]+\n-{4,}\n", text, re.M | re.S)
    assert section is not None, "CONTRIBUTING.rst has no section 'Where things are'"
    rows = re.findall(r"^``([\w/]+?)/?``  ", section[1], re.M)
    return [row.replace("/", ".") for row in rows]


# Judging ---------------------------------------------------------------------------------------


def broken(modules: dict[str, Module], order: Sequence[str], borrowed: Iterable[str]) -> list[str]:
    """Each wall that is broken, in a line for whoever broke it.

    :param order: the places, from the highest floor to the lowest.
    :param borrowed: private names of others that may be used.
    """
    return [
        *circles(modules),
        *upward(modules, order),
        *trespasses(modules, {*borrowed, *DOCUMENTED}),
        *halls(modules),
    ]


def circles(modules: dict[str, Module]) -> Iterator[str]:
    """Modules that import each other, in a ring."""
    graph = {name: set(module.imports) for name, module in modules.items()}
    reached = {name: _reached(graph, name) for name in graph}
    seen: set[str] = set()
    for name in graph:
        if name in reached[name] and name not in seen:
            ring = {other for other in reached[name] if name in reached[other]}
            seen |= ring
            yield f"circle: {', '.join(sorted(modules[one].shown for one in ring))}"


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += graph[name]
    return found


def upward(modules: dict[str, Module], order: Sequence[str]) -> Iterator[str]:
    """Imports of what stands higher, modules without a place, and places without a module."""
    places = {name: _place(name, order) for name in modules}
    for place in order:
        if place != "__init__" and place not in modules:
            yield f"picture: there is no {place.replace('.', '/')}"
    for name, module in modules.items():
        mine = places[name]
        if mine is None:
            yield f"picture: {module.shown} has no place: what is it for?"
            continue
        for target in module.imports:
            other = places[target]
            if other is not None and order.index(other) < order.index(mine):
                yield f"upward: {module.shown} imports {modules[target].shown}"


def _place(name: str, order: Sequence[str]) -> str | None:
    """The place of a module: its own, or that of the nearest package around it."""
    if not name:
        return "__init__" if "__init__" in order else None
    parts = name.split(".")
    around = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((place for place in around if place in order), None)


def trespasses(modules: dict[str, Module], allowed: set[str]) -> Iterator[str]:
    """Uses of a ``_name`` that neither this module binds nor a base of one of its classes."""
    classes = {name: kin for one in modules.values() for name, kin in one.classes.items()}
    for module in modules.values():
        own = module.own.union(allowed, *(_inherited(classes, cls) for cls in module.classes))
        told = set()
        for _, name in module.used:
            if name not in own and name not in told:
                told.add(name)
                yield f"private: {module.shown} uses {name}"


def _inherited(classes: dict[str, tuple[list[str], set[str]]], cls: str) -> set[str]:
    bases, names = classes.get(cls, ([], set()))
    return names.union(*(_inherited(classes, base) for base in bases if base != cls))


def halls(modules: dict[str, Module]) -> Iterator[str]:
    """Modules that hold more than one subject."""
    for module in modules.values():
        if module.lines > MOST_LINES and module.acts:
            yield f"hall: {module.shown} has more than {MOST_LINES} lines"


# Checking --------------------------------------------------------------------------------------


def test_every_wall_stands() -> None:
    order = floors((ROOT / "CONTRIBUTING.rst").read_text())
    found = broken(house(ROOT / PACKAGE), order, SEAMS)
    new = [line for line in found if line not in EXCEPTIONS]
    assert not new, "\n".join(["walls that this change breaks:", *new])
    needless = sorted(EXCEPTIONS - {*found})
    assert not needless, "\n".join(["these stand now; take them off the list:", *needless])


def test_the_drawings_name_modules_that_are_there() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.rst").read_text()
    named = {*re.findall(r"\[([a-z_/]+)\]", text), *re.findall(r"``([a-z_]+/[a-z_]+)``", text)}
    answers = text.partition("Where is it decided")[2]
    named |= {*re.findall(r"``([a-z_]+)``(?=[,;]|$)", answers, re.M)}
    assert len(named) > 20
    known = {name.replace(".", "/") for name in house(ROOT / PACKAGE)}
    assert not named - known


def test_the_table_of_the_transport_has_its_rooms_in_order() -> None:
    rooms = ROOT / PACKAGE / "transport"
    order = re.findall(r"^``(\w+)`` ", (rooms / "__init__.py").read_text(), re.M)
    assert sorted(order) == sorted(path.stem for path in rooms.glob("[!_]*.py"))
    modules = house(ROOT / PACKAGE)
    for place, room in enumerate(order):
        known = {f"transport.{other}" for other in order[:place]}
        imported = {name for name in modules[f"transport.{room}"].imports if "transport." in name}
        assert imported <= known, room


def test_what_contributors_are_sent_to_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.rst").read_text()
    named = re.findall(r"``((?:tests|docs|examples|proofs|benchmarks|changelog\.d)/[^`]*)``", text)
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).exists()]


PICTURE = """
Where things are
----------------

====================  ====
``top``               uses
``a/``                the
``low``               rest
====================  ====

To add
------
"""


def built(tmp_path: Path, **sources: str) -> dict[str, Module]:
    """A house of a few modules: ``a__b`` is the module ``a/b``."""
    root = tmp_path / "built"
    for name, text in {"top": "", "a____init__": "", "low": "", **sources}.items():
        path = root / (name.replace("a__", "a/", 1) + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house(root)


def judged(tmp_path: Path, **sources: str) -> list[str]:
    return broken(built(tmp_path, **sources), floors(PICTURE), {"_borrowed"})


@pytest.mark.parametrize(
    ("sources", "wall"),
    [
        ({"low": "from . import top"}, "upward: low imports top"),
        ({"low": "from built.top import x"}, "upward: low imports top"),
        ({"low": "import built.a"}, "upward: low imports a"),
        ({"low": "def f():\n from .a import x"}, "upward: low imports a"),
        ({"low": "if TYPE_CHECKING:\n from .top import X"}, "upward: low imports top"),
        ({"a__b": "from ..top import x"}, "upward: a/b imports top"),
        ({"a__b": "from . import c", "a__c": "from .b import x"}, "circle: a/b, a/c"),
        ({"a__b": "from . import x", "a____init__": "from .b import y"}, "circle: a, a/b"),
        ({"new": ""}, "picture: new has no place: what is it for?"),
        ({"top": "from .low import _x"}, "private: top uses _x"),
        ({"top": "def f(one): one._x = 1", "low": "_x = 1"}, "private: top uses _x"),
        ({"top": "def f(one): one._x()"}, "private: top uses _x"),
        ({"top": "class A:\n def f(self): self._x()"}, "private: top uses _x"),
        ({"top": "x = getattr(y, '_x', None)"}, "private: top uses _x"),
        ({"top": "def f(): return 1\n" + "\n" * 400}, "hall: top has more than 400 lines"),
    ],
)
def test_says_which_wall_is_broken(tmp_path: Path, sources: dict[str, str], wall: str) -> None:
    assert judged(tmp_path, **sources) == [wall]


@pytest.mark.parametrize(
    "sources",
    [
        {"top": "from . import low\nfrom .a import b", "a__b": "from ..low import x"},
        {"top": "class A:\n def f(self): self._x = 1\ndef g(a): return a._x"},
        {"top": "from .low import A\nclass B(A):\n def f(self): return self._x",
         "low": "class A:\n def _x(self): ..."},
        {"top": "class A:\n __slots__ = ('_x',)\ndef g(a): return a._x"},
        {"top": "import os\nos._exit(1)\nx._borrowed = x.__dict__"},
        {"top": "X = [\n" + "1,\n" * 400 + "]\ndef f(x: int) -> str: ..."},
    ],
)  # fmt: skip
def test_lets_what_keeps_to_its_room_pass(tmp_path: Path, sources: dict[str, str]) -> None:
    assert judged(tmp_path, **sources) == []


def test_says_which_place_has_no_module(tmp_path: Path) -> None:
    modules = built(tmp_path)
    order = [*floors(PICTURE), "gone"]
    assert broken(modules, order, ()) == ["picture: there is no gone"]
