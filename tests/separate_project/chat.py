"""A little application, as others write them: it asks the default client or a given one."""

from __future__ import annotations

import openai_stream


def ask(question: str, client: openai_stream.Client | None = None) -> str:
    """The answer; as much of it as comes, and what went wrong with the rest."""
    text = ""
    try:
        events = openai_stream.create_chat_completion(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            client=client,
            timeout=openai_stream.Timeout(idle=0.5, gap=5),
        )
        for piece in events.text():
            text += piece
    except openai_stream.OpenAIStreamError as error:
        return f"{text} ({type(error).__name__})"
    return text
