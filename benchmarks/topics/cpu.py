"""CPU per event of one stream whose bytes are there, so that nobody waits for the server."""

from __future__ import annotations

import gc
import time

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant
from benchmarks.events import Answer
from benchmarks.report import Findings, Table, Target

NAMES = (
    "Ours",
    "OursIterated",
    "OursCalledBack",
    "OursWithResult",
    "OpenAI",
    "OpenAIWithFinal",
    "LiteLLM",
    "LiteLLMWithFinal",
    "HttpxSSE",
    "SSEClient",
    "IterLines",
    "ThreadAndQueue",
)
CHUNKS = (1, 20)

NOTE = """\
Microseconds of CPU for each of {events} events, and the ratio to our queue mode, with 1 and with 20
events an HTTP chunk. No two events are equal but for their text: each has its own random
``obfuscation``, and fields in varying number. The loops by hand read ``raw.stream(65536)`` and
``iter_lines(chunk_size=None)``, not the slower defaults, yield plain dicts and check nothing; ours
and the packages give typed objects. ``result()`` is the whole completion, as
``get_final_completion()`` of ``openai`` and ``stream_chunk_builder()`` of ``litellm`` are."""


def measure(contestant: Contestant, model: str) -> float:
    """The CPU of one answer, in seconds."""
    gc.collect()  # what the last pass left is not this one's
    start = time.process_time()
    contestant.drain(model)
    return time.process_time() - start


def run(arena: Arena) -> Findings:
    events = arena.either(1000, 5000)
    rounds = arena.either(4, 8)
    best: dict[int, dict[str, float]] = {}
    with arena.workers(NAMES) as workers:
        for per_chunk in CHUNKS:
            tell(f"CPU per event, {per_chunk} events a chunk")
            answer = Answer(events=events, per_chunk=per_chunk)
            measured = arena.rounds(workers, rounds, "cpu", answer)
            best[per_chunk] = {name: min(took) / events for name, took in measured.items()}
        titles = {worker.name: worker.title for worker in workers}

    rows = [
        [
            title,
            *(
                text
                for costs in best.values()
                for text in (f"{costs[name] * 1e6:.1f}", f"{costs[name] / costs['Ours']:.2f}")
            ),
        ]
        for name, title in titles.items()
    ]
    columns = ["", *(text for n in CHUNKS for text in (f"µs, {n} a chunk", "ratio"))]
    pairs = [
        ("queue mode", "Ours", "OpenAI", 0.1),
        ("queue and ``result()``", "OursWithResult", "OpenAIWithFinal", 1 / 18),
        ("callback mode", "OursCalledBack", "SSEClient", 1.0),
    ]
    return Findings(
        tables=[Table("CPU per event", NOTE.format(events=f"{events:,}"), columns, rows)],
        targets=[
            Target(
                f"CPU per event, {what}, {per_chunk} a chunk",
                titles[peer],
                most,
                best[per_chunk][ours] / best[per_chunk][peer],
                "{:.3f}",
            )
            for what, ours, peer, most in pairs
            for per_chunk in CHUNKS
        ],
        drawn={
            "cpu": {
                title: [best[per_chunk][name] * 1e6 for per_chunk in CHUNKS]
                for name, title in titles.items()
            }
        },
    )
