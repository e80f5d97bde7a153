"""What a command line is made of, beside files: what the library's messages call otherwise, numbers
that are some, and texts that are UTF-8.
"""

from __future__ import annotations

import math
import re
from typing import Any

import click

from openai_stream.errors import ASK_AGAIN

__all__ = ["Number", "as_options", "check_text"]

#: What the library calls what the command line has under another name, or has not. Arguments are
#: named at the beginning of a message, so that nothing is taken for one that a server says.
_NAMES = (
    (r"^base_url\b", "--base-url (or OPENAI_BASE_URL)"),
    (r"^endpoint\b", "--base-url (or AZURE_OPENAI_ENDPOINT)"),
    (r"^(api_key|azure_ad_token)\b", "the API key of the environment"),
    (r"^organization\b", "OPENAI_ORG_ID"),
    (r"^project\b", "OPENAI_PROJECT_ID"),
    (r"^api_version\b", "OPENAI_API_VERSION"),
    (r"^model(_path)?\b", "--model"),
    (r"^extra_body\b", "--option"),
    (r"^restarts\b", "--restarts"),
    (r"^timeout(?:: \S+)?( must be a number of seconds).*(, not )", r"--timeout\1\2"),
    (r", or pass endpoint='([^']*)'", r", or give --base-url \1"),
    (r", or pass api_key=….*$", ""),
    (r": the server's address goes into base_url=.*$", ": the server's address is --base-url"),
    (r": use headers=\{'Authorization': …\}", ": give the key in the environment"),
    (r", or give the path of a GGUF file as model_path", ", or give that of a file as --model"),
    (r"; a larger model needs a larger start_timeout", "; a smaller model starts sooner"),
    (r"; if such \S+ are to be expected, raise max_event_bytes.*$", ""),
    (
        r": it ignores stream=True\. The answer is whole, and is this error's snapshot; .*$",
        ": it does not stream",
    ),
    (r"\. With stream=False no thread is needed", ""),
)


def as_options(message: str, asking_again: str) -> str:
    """A message of the library's, about arguments, as one about the command line.

    :param asking_again: how this command asks again.
    """
    for pattern, option in _NAMES:
        message = re.sub(pattern, option, message)
    return message.replace(ASK_AGAIN, asking_again)


class Number(click.FloatRange):
    """A finite number: ``nan`` is in every range of click's, and no clock counts ``inf``."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number to count with", param, ctx)
        return number


def check_text(what: str, text: str | None) -> None:
    """Refuse a text of the command line that is not UTF-8: Python keeps such bytes as surrogates.

    :raises click.UsageError: saying which byte it is.
    """
    found = re.search(r"[\ud800-\udfff]", text or "")
    if found:
        byte = ord(found[0]) - 0xDC00
        said = f"the byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else "half a character"
        raise click.UsageError(f"{what} is not UTF-8: there is {said} in it")
