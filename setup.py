"""``setup.cfg`` says everything but how ``README.rst`` is shown where no file lies beside it.

On PyPI a path leads nowhere. With ``url`` in ``setup.cfg`` pictures are taken from there, without
it they are left out.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

HERE = Path(__file__).parent


def standing_alone(readme: str, url: str | None) -> str:
    """The text without paths.

    :param url: of the project's repository.
    """

    def picture(found: re.Match[str]) -> str:
        return f"{found[1]}{url.rstrip('/')}/raw/main/{found[2]}{found[3]}" if url else ""

    return re.sub(r"(?m)^(\.\. image:: )(?!https:)(\S+)((?:\n   .*)*\n\n?)", picture, readme)


if __name__ == "__main__":
    from setuptools import setup  # type: ignore[import-untyped]

    config = configparser.ConfigParser()
    config.read(HERE / "setup.cfg")
    setup(
        long_description=standing_alone(
            (HERE / "README.rst").read_text(encoding="utf-8"),
            config.get("metadata", "url", fallback=None),
        ),
        long_description_content_type="text/x-rst",
    )
