"""Questions to worker processes, their answers on one ``multiprocessing`` queue.

Each worker streams all of its questions at the same time, onto the queue that it shares with the
others: ``queue=results, tag=number``. Events, ``DONE`` and errors can be pickled, so the parent
reads them as if the streams were its own. A worker that dies is noticed: what it owed is reported.

The client is made in the worker: connections are not for sharing between processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.queues import Queue
from typing import Any

import attrs

from openai_stream import DONE, ChatCompletionChunk, Client, OpenAIStreamError, Tagged

LOOK = 0.5  # seconds without news after which it is looked whether a worker has died


def work(questions: Mapping[int, str], model: str, results: Queue[Tagged]) -> None:
    """Stream the answers of these questions. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who then ends us
    with Client() as client:
        streams = [
            client.create_chat_completion(
                model=model,
                messages=[{"role": "user", "content": question}],
                stream=True,
                queue=results,
                tag=number,
                nowait=True,  # so that what goes wrong while connecting is put there too
            )
            for number, question in questions.items()
        ]
        for stream in streams:
            stream.exception()  # wait for its end; how it ended, the queue tells


@attrs.define
class Answer:
    """One question's answer, as far as it has come."""

    question: str
    text: str = ""
    error: str = ""


def stream_all(
    questions: list[str], model: str, workers: int, start_method: str | None = None
) -> Iterator[tuple[int, Answer]]:
    """Have the questions answered, and yield each answer when it is whole, or has failed.

    :param workers: how many processes.
    :param start_method: ``fork``, ``spawn`` or ``forkserver``; ``None`` for the system's own.
    """
    context = multiprocessing.get_context(start_method)
    results: Queue[Tagged] = context.Queue()
    open_answers = {number: Answer(question) for number, question in enumerate(questions, 1)}
    processes: dict[Any, list[int]] = {}
    try:
        for worker in range(min(workers, len(questions))):
            mine = dict(list(enumerate(questions, 1))[worker::workers])
            process = context.Process(  # type: ignore[attr-defined]
                target=work, args=(mine, model, results), name=f"worker-{worker + 1}", daemon=True
            )
            process.start()
            processes[process] = list(mine)
        while open_answers:
            # Whoever had died before the queue was empty can have put nothing since.
            dead = [process for process in processes if not process.is_alive()]
            try:
                tagged = results.get(timeout=LOOK)
            except queue.Empty:
                for process in dead:
                    for number in processes.pop(process):
                        if number in open_answers:
                            answer = open_answers.pop(number)
                            answer.error = f"{process.name} died with status {process.exitcode}"
                            yield number, answer
                continue
            number, item = tagged.tag, tagged.item
            if item is DONE:
                yield number, open_answers.pop(number)
            elif isinstance(item, Exception):  # and DONE comes next
                open_answers[number].error = str(item)
            elif isinstance(item, ChatCompletionChunk) and item.choices:
                open_answers[number].text += item.choices[0].delta.content or ""
    finally:
        for process in processes:
            process.terminate()
            process.join()
        results.close()


def main() -> int:
    """Ask the questions of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--model", default=os.environ.get("OPENAI_MODEL", "gpt-6-luna"))
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods())
    options = parser.parse_args()
    failed = False
    try:
        Client().close()  # what is wrong with the key or the address is better said once, and here
        for number, answer in stream_all(
            options.questions, options.model, options.workers, options.start_method
        ):
            print(f"[{number}] {answer.question}\n{answer.text}", flush=True)
            if answer.error:
                failed = True
                print(f"[{number}] failed: {answer.error}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OpenAIStreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
