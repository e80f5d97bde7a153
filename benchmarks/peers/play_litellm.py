"""One report, played to ``litellm``: jobs in, outcomes out, a line each; see ``reported/ours.py``.

It wants an older ``openai`` than the newest, so it has an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# Otherwise it fetches a list of prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from play_openai import ASKED, summed

JSON = dict[str, Any]
litellm.suppress_debug_info = True


def play(job: JSON) -> JSON:
    """The outcome of a job, or one that is ``unplayed`` if the library has no such call."""
    endpoint = job["endpoint"]
    if endpoint == "any":
        return {"unplayed": True}
    outcome: JSON = {"text": ""}
    provider = "text-completion-openai" if endpoint == "completions" else "openai"
    arguments = {
        "model": f"{provider}/gpt-4o-mini",
        "api_base": job["url"],
        "api_key": "sk-test",
        "max_retries": job["retries"],
        "timeout": 5,
        "stream": job["stream"],
        **ASKED[endpoint],
        **job["body"],
    }
    try:
        outcome["whole"] = _asked(job, arguments, outcome)
    except Exception as error:
        own = isinstance(error, openai.OpenAIError) or "litellm" in type(error).__module__
        outcome["error"] = {"class": type(error).__name__, "own": own, "said": str(error)}
    return outcome


def _asked(job: JSON, arguments: JSON, outcome: JSON) -> JSON:
    call: Any = {
        "chat": litellm.completion,
        "completions": litellm.text_completion,
        "responses": litellm.responses,
    }[job["endpoint"]]
    answer = call(**arguments)
    if not job["stream"]:
        return dict(answer.model_dump())
    if job["endpoint"] == "completions":
        return summed(answer, outcome)
    if job["endpoint"] == "responses":
        return _summed_response(answer, outcome)
    chunks = []
    for chunk in answer:
        chunks.append(chunk)
        if chunk.choices and chunk.choices[0].index == 0:
            outcome["text"] += chunk.choices[0].delta.content or ""
    return dict(litellm.stream_chunk_builder(chunks, messages=arguments["messages"]).model_dump())


def _summed_response(events: Any, outcome: JSON) -> JSON:
    """It has no accumulator for responses: the last event, and the items if they are not there."""
    items: dict[int, Any] = {}
    whole: JSON = {}
    for event in events:
        if event.type == "response.output_text.delta":
            outcome["text"] += event.delta
        elif event.type == "response.output_item.done":
            items[event.output_index] = event.item
        if response := getattr(event, "response", None):
            whole = dict(response.model_dump())
    plain = [_plain(items[index]) for index in sorted(items)]
    return {**whole, "output": whole.get("output") or plain}


def _plain(item: Any) -> Any:
    return item.model_dump() if hasattr(item, "model_dump") else item


def main() -> None:
    results, sys.stdout = sys.stdout, sys.stderr  # it prints
    for line in sys.stdin:
        print(json.dumps(play(json.loads(line)), default=str), file=results, flush=True)


if __name__ == "__main__":
    main()
