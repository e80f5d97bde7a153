"""Plain English: turns of phrase that have to be read twice, found by their words.

This reads README.rst and its like, the pages of docs/ that are written by hand, and the messages of
the package. It finds only what a pattern can find: most sentences that are hard to read need a
reader.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Written by programs, from tables and measurements.
GENERATED = {
    ROOT / "docs" / f"{name}.rst"
    for name in (
        "benchmarks",
        "compared_faults",
        "compared_reports",
        "faults",
        "mutants",
        "proofs",
        "quirks",
        "reports",
    )
}
PAGES = sorted({*ROOT.glob("*.rst"), *ROOT.glob("changelog.d/*.rst"), *ROOT.glob("docs/**/*.rst")})
PAGES = [page for page in PAGES if page not in GENERATED and "_build" not in page.parts]
MODULES = sorted(ROOT.glob("openai_stream/**/*.py"))

#: What is found, and what to write instead.
INSTEAD = {
    r"for ever\b": "forever",
    r"(is|are|was|were) over\b": "has passed, has ended",
    r"what (had|has) (already )?(come|arrived)\b": "the partial answer, the events so far",
    r"told\b": "reported, raised, passed to",
    r"of others\b": "somebody else's, the user's",
    r"half way\b": "in the middle",
    r"anew\b": "again",
    r"as ever\b": "as usual",
    r"though it be\b": "even if it is",
    r"not to be (changed|copied|pickled)\b": "immutable, cannot be copied",
    r"in the place of\b": "instead of",
    r"behind (your|the user's) back\b": "silently, in the background",
    r"nobody refers to\b": "is no longer referenced",
    r"(is|of) no use\b": "does not help",
    r"nothing is known of\b": "unknown",
}
PATTERNS = {re.compile(rf"\b{found}", re.IGNORECASE): good for found, good in INSTEAD.items()}


def twisted(text: str) -> list[str]:
    """Each turn of phrase in *text* that has a plainer one."""
    text = " ".join(text.split())
    return [
        f"{text[max(match.start() - 30, 0) : match.end() + 20]!r}: write {good}"
        for pattern, good in PATTERNS.items()
        for match in pattern.finditer(text)
    ]


def messages(source: str) -> Iterator[str]:
    """Every string of a module that has words in it and is not a docstring."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str) and " " in node.value:
            yield node.value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    assert twisted(page.read_text(encoding="utf-8")) == []


def test_messages_are_in_plain_english() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in MODULES
        for text in messages(path.read_text(encoding="utf-8"))
        if (wrong := twisted(text))
    }
    assert found == {}


def test_finds_a_phrase_across_lines() -> None:
    assert twisted("It waits for\n    ever.") != []
    assert twisted("It waits forever, over the network.") == []


def test_reads_strings_and_not_docstrings() -> None:
    source = '"""Told."""\n\ndef f(x):\n    """Told."""\n    raise ValueError(f"{x} is over")\n'
    assert list(messages(source)) == [" is over"]
