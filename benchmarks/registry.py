"""All contestants, by the names of their classes."""

from __future__ import annotations

from . import contestants as alone
from . import many_at_once as together
from .contestants import Contestant

__all__ = ["CONTESTANTS"]

CONTESTANTS: dict[str, type[Contestant]] = {
    kind.__name__: kind
    for kind in (
        alone.Ours,
        alone.OursWithResult,
        alone.OursIterated,
        alone.OursCalledBack,
        alone.OursSharedQueue,
        alone.OpenAI,
        alone.OpenAIWithFinal,
        alone.LiteLLM,
        alone.LiteLLMWithFinal,
        alone.HttpxSSE,
        alone.SSEClient,
        alone.IterLines,
        alone.ThreadAndQueue,
        alone.KeptSSEClient,
        alone.KeptThreadAndQueue,
        alone.BareSocket,
        together.OursOneReader,
        together.OursTwoReaders,
        together.ThreadsAndQueue,
        together.OpenAIAsync,
        together.Loop,
        together.LoopAndQueue,
    )
}
