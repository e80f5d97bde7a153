"""Tokens that a call has used: of which kinds, and of which modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from .attributes import Attributes, mapping

__all__ = ["Tokens"]

#: As the conventions call them, and the field of a usage that counts them is called alike.
_MODALITIES = ("text", "image", "audio")
_DETAILS_OF_INPUT = ("input_tokens_details", "prompt_tokens_details")
_DETAILS_OF_OUTPUT = ("output_tokens_details", "completion_tokens_details")

_Paths = tuple[tuple[str, ...], ...]

#: Of each kind the paths that may lead to it, ours first; the later ones are those of servers that
#: count elsewhere (DeepSeek, Anthropic).
_KINDS: dict[str, _Paths] = {
    "input_tokens": (("input_tokens",), ("prompt_tokens",)),
    "output_tokens": (("output_tokens",), ("completion_tokens",)),
    "cache_read.input_tokens": (
        *((details, "cached_tokens") for details in _DETAILS_OF_INPUT),
        ("prompt_cache_hit_tokens",),
        ("cache_read_input_tokens",),
    ),
    "cache_write.input_tokens": (
        *((details, "cache_write_tokens") for details in _DETAILS_OF_INPUT),
        *((details, "cache_creation_tokens") for details in _DETAILS_OF_INPUT),
        ("cache_creation_input_tokens",),
    ),
    "reasoning.output_tokens": tuple(
        (details, "reasoning_tokens") for details in _DETAILS_OF_OUTPUT
    ),
}
#: Of a kind the objects that may count its tokens by modality.
_BY_MODALITY: dict[str, _Paths] = {
    "input_tokens": tuple((details,) for details in _DETAILS_OF_INPUT),
    "output_tokens": tuple((details,) for details in _DETAILS_OF_OUTPUT),
    "cache_read.input_tokens": tuple(
        (details, "cached_tokens_details") for details in _DETAILS_OF_INPUT
    ),
}


@attrs.frozen
class Tokens:
    """What a usage counts.

    :param counts: by the kind's name, those that there are.
    :param modalities: by the kind's name and the modality, those that are not 0.
    """

    #: The kinds, all of which a metric counts.
    KINDS = tuple(_KINDS)

    counts: Mapping[str, int]
    modalities: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Tokens:
        """Those of an answer; none, if it does not tell."""
        usage = mapping(answer.get("usage"))
        counts = {
            kind: count
            for kind, paths in _KINDS.items()
            if (count := _count(usage, paths)) is not None
        }
        modalities = {
            kind: {
                modality: count
                for modality in _MODALITIES
                if (count := _count(usage, tuple((*path, f"{modality}_tokens") for path in paths)))
            }
            for kind, paths in _BY_MODALITY.items()
        }
        return cls(counts, modalities)

    def attributes(self) -> Attributes:
        """All of them, for a span."""
        told: Attributes = {f"gen_ai.usage.{kind}": count for kind, count in self.counts.items()}
        for kind, counts in self.modalities.items():
            told |= {f"gen_ai.usage.{modality}.{kind}": count for modality, count in counts.items()}
        return told

    def split(self, kind: str) -> Iterator[tuple[str, int]]:
        """A kind's tokens by modality, which add up to its count: 0 if the server does not tell.

        :param kind: one of :attr:`KINDS`.
        """
        count = self.counts.get(kind, 0)
        known = self.modalities.get(kind, {})
        rest = count - sum(known.values())
        if rest < 0:  # what overlaps is no breakdown
            known, rest = {}, count
        yield from known.items()
        if rest or not known:
            yield "unknown", rest


def _count(usage: Mapping[str, Any], paths: _Paths) -> int | None:
    """The first count that there is."""
    for path in paths:
        value: Any = usage
        for name in path:
            value = mapping(value).get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
