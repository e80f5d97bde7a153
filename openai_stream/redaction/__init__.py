"""What must show nowhere, and where it is taken out: one rule for everything that leaves.

``names`` says what a secret is by the name that it has, in headers and in queries alike;
``secrets`` finds the texts again, ``escapes`` says in which forms servers and libraries quote them;
``answers`` does the same for bytes that come in pieces; ``failures`` takes them out of errors, of
their causes and of the frames that they came through; ``logs`` out of what others log for us.

It knows neither clients nor the network: whoever has keys names them to a :class:`Secrets`, which
goes along with the call. Nothing of this runs for an answer that is well, unless it is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import forget_locals, forgets, forgets_what_it_is_made_of, purge
from .logs import hiding_in_logs, without_secrets
from .names import (
    has_unquoted_user,
    hidden_header,
    hidden_target,
    is_harmless,
    is_secret,
    shown,
    shown_proxy,
)
from .secrets import HIDDEN, Mask, Secrets, cleaned, cleaned_headers, of_headers, of_proxies, of_url

if TYPE_CHECKING:
    from .answers import AnswerWithout
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(globals(), {".answers": ("AnswerWithout",)})

__all__ = [
    "HIDDEN",
    "AnswerWithout",
    "Mask",
    "Secrets",
    "cleaned",
    "cleaned_headers",
    "forget_locals",
    "forgets",
    "forgets_what_it_is_made_of",
    "has_unquoted_user",
    "hidden_header",
    "hidden_target",
    "hiding_in_logs",
    "is_harmless",
    "is_secret",
    "of_headers",
    "of_proxies",
    "of_url",
    "purge",
    "shown",
    "shown_proxy",
    "without_secrets",
]
