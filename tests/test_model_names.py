"""No page, example or default names a model that has left the API or is about to."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from openai_stream.cli.targets import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
#: What OpenAI calls its models.
_NAMES = re.compile(r"\b(?:gpt-\d|o\d-|chatgpt-|text-davinci)[\w.-]*", re.IGNORECASE)
#: Written by programs from what tests play, or telling what a test plays.
_GENERATED = {
    "benchmarks",
    "compared_faults",
    "faults",
    "mutants",
    "quirks",
    "reports",
    "responses",
    "verdicts",
}
_TEXTS = [
    ROOT / "README.rst",
    *sorted((ROOT / "docs").rglob("*.rst")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "openai_stream" / "cli").rglob("*.py")),
    *sorted((ROOT / "openai_stream" / "otel").rglob("*.py")),
]
TEXTS = [one for one in _TEXTS if one.stem not in _GENERATED and "_build" not in one.parts]


def docs_model() -> str:
    spec = importlib.util.spec_from_file_location("docs_models", ROOT / "docs" / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: str = module.MODEL
    return model


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_speaks_of_one_model(path: Path) -> None:
    named = set(_NAMES.findall(path.read_text(encoding="utf-8")))
    assert named <= {docs_model(), DEFAULT_MODEL}


def test_the_pages_do_speak_of_it() -> None:
    assert docs_model() in (ROOT / "README.rst").read_text(encoding="utf-8")
