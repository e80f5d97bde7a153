"""One report, played to ``openai``: jobs in, outcomes out, as ``reported/ours.py`` does."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai

JSON = dict[str, Any]
ASKED: JSON = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": "Hi"},
    "responses": {"input": "Hi"},
}


def play(job: JSON) -> JSON:
    """The outcome of a job, or one that is ``unplayed`` if the library has no such call."""
    endpoint = job["endpoint"]
    if endpoint == "any":
        return {"unplayed": True}
    outcome: JSON = {"text": ""}
    arguments = {"model": "m", **ASKED[endpoint], "extra_body": job["body"]}
    try:
        with openai.OpenAI(
            api_key="sk-test", base_url=job["url"], max_retries=job["retries"], timeout=5
        ) as client:
            outcome["whole"] = _asked(client, job, arguments, outcome)
    except Exception as error:
        own = isinstance(error, openai.OpenAIError)
        outcome["error"] = {"class": type(error).__name__, "own": own, "said": str(error)}
    return outcome


def _asked(client: openai.OpenAI, job: JSON, arguments: JSON, outcome: JSON) -> JSON:
    whole: Any
    match job["endpoint"], job["stream"]:
        case "chat", True:
            with client.chat.completions.stream(**arguments) as chat:
                for event in chat:
                    if event.type == "content.delta":
                        outcome["text"] += event.delta
                whole = chat.get_final_completion()
        case "responses", True:
            with client.responses.stream(**arguments) as response:
                for part in response:
                    if part.type == "response.output_text.delta":
                        outcome["text"] += part.delta
                whole = response.get_final_response()
        case "completions", True:
            return summed(client.completions.create(**arguments, stream=True), outcome)
        case "chat", _:
            whole = client.chat.completions.create(**arguments)
        case "responses", _:
            whole = client.responses.create(**arguments)
        case _:
            whole = client.completions.create(**arguments)
    return dict(whole.to_dict(mode="python", warnings=False))


def summed(chunks: Any, outcome: JSON) -> JSON:
    """Text completions have no accumulator: what a program would write by hand."""
    whole: JSON = {}
    choices: dict[int, JSON] = {}
    for chunk in chunks:
        if chunk.usage:
            whole["usage"] = chunk.usage.model_dump()
        for choice in chunk.choices:
            new = {"index": choice.index, "text": "", "finish_reason": None}
            held = choices.setdefault(choice.index, new)
            held["text"] += choice.text or ""
            held["finish_reason"] = choice.finish_reason or held["finish_reason"]
            if choice.index == 0:
                outcome["text"] += choice.text or ""
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(play(json.loads(line)), default=str), flush=True)


if __name__ == "__main__":
    main()
