"""An answer in the terminal that can be stopped: by Enter, by Ctrl-C, or after some seconds.

What had come is kept. With ``--drain`` the answer is only dismissed: nothing more is shown, but the
stream goes on quietly, for the usage that an interrupted one never tells.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading

from openai_stream import (
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    ConfigurationError,
    EventQueue,
    OpenAIStreamError,
)


def show(events: EventQueue[ChatCompletionChunk], drain: bool) -> None:
    """Print the answer as it comes, until it ends or is stopped; Ctrl-C is one way to stop it."""
    try:
        for text in events.text():
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        events.close(drain)
    finally:
        print(flush=True)


def stop_at_enter(events: EventQueue[ChatCompletionChunk], drain: bool) -> None:
    """Stop the stream when Enter is pressed; on a thread of its own."""
    # Not ``sys.stdin.readline()``: it would hold the lock of ``stdin`` when the script ends.
    if os.read(sys.stdin.fileno(), 1024):  # nothing: there is no keyboard
        events.close(drain)


def say(words: str) -> None:
    """Tell the user, apart from the answer, which may go to a file."""
    print(words, file=sys.stderr, flush=True)


def kept(answer: ChatCompletion) -> str:
    """How much there is of the answer, and what it cost if that was told."""
    text = "".join(choice.message.content or "" for choice in answer.choices)
    usage = f", {answer.usage.total_tokens} tokens" if answer.usage else ", usage not told"
    return f"{len(text)} characters kept{usage}"


def main() -> int:
    """Ask the question of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question", nargs="?", default="Tell me about the sea")
    parser.add_argument("--model", default=os.environ.get("OPENAI_MODEL", "gpt-6-luna"))
    parser.add_argument("--seconds", type=float, help="stop after so many")
    parser.add_argument("--drain", action="store_true", help="let the model finish, unseen")
    options = parser.parse_args()
    try:
        client = Client()
    except ConfigurationError as error:
        say(f"error: {error}")
        return 1

    events = client.create_chat_completion(
        model=options.model,
        messages=[{"role": "user", "content": options.question}],
        stream=True,
        stream_options={"include_usage": True},
        nowait=True,  # so that it can be stopped while it connects, too
    )
    stream = events.stream
    # Any thread may stop it, at any moment. No loop has to look at a flag for that.
    threading.Thread(target=stop_at_enter, args=(events, options.drain), daemon=True).start()
    timer = threading.Timer(options.seconds or 0, events.close, [options.drain])
    if options.seconds is not None:
        timer.start()
    say("Press Enter to stop.")

    outcome, status = "whole", 0
    try:
        show(events, options.drain)
        if stream.cancelled():
            outcome = "stopped"
        elif stream.running():
            outcome = "stopped, and finished unseen"
            say("Stopped. The model finishes; Ctrl-C stops that too.")
            stream.result()
    except KeyboardInterrupt:
        stream.close()
        outcome = "stopped"
    except OpenAIStreamError as error:
        say(f"error: {error}")
        outcome, status = "broken off", 1
    finally:
        timer.cancel()
        client.close()
    say(f"{outcome}: {kept(stream.snapshot())}")
    return status


if __name__ == "__main__":
    sys.exit(main())
