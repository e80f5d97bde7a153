"""``batch``: many prompts, each asked until it has an answer or has failed for good."""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import click

from openai_stream import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ConflictError,
    InternalServerError,
    RateLimitError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from openai_stream.extras import install
from openai_stream.server_errors import has_no_credit
from openai_stream.transport import ASK_AGAIN

from .batch_files import Answers, Defaults, Prompt, count_prompts, lines_of, read_prompts
from .endpoints import CHAT
from .failures import Failure, Status, told
from .files import STDERR, File
from .gate import Gate
from .progress import Meter
from .targets import (
    Recording,
    Target,
    check_options,
    client_of,
    look_at_files,
    request_options,
    target_options,
)
from .workers import Outcome, Streams, Work, WorkerDied, Workers

__all__ = ["batch"]

_LOCAL_SLOTS = 4
_LONGEST_BACKOFF = 30.0  # seconds
_LOOK_EVERY = 0.05  # seconds between two looks at whether a pipe has brought another prompt
_LONGEST_ASKED = 300.0  # seconds of a pause that the server asks for
_TOO_FAST = ("rate_limit_exceeded", "rate_limit_error")
_SERVERS_FAULT = ("server_error", "overloaded", "overloaded_error", "timeout", "internal_error")


def _names(error: Exception) -> tuple[str | None, str | None]:
    return getattr(error, "code", None), getattr(error, "type", None)


def _is_everybodys(error: Exception) -> bool:
    """Whether every other prompt would meet the same error."""
    return isinstance(error, AuthenticationError) or has_no_credit(error)


def _is_too_large(error: Exception) -> bool:
    """Whether the prompt alone is more than the limit: no pause makes it fit.

    OpenAI says so with the status, the code and the type of any rate limit.
    """
    return "request too large" in str(error).lower()


def _is_rate_limit(error: Exception) -> bool:
    if _is_too_large(error):
        return False
    if isinstance(error, StreamAPIError):
        return any(name in _TOO_FAST for name in _names(error))
    return isinstance(error, RateLimitError)


def _is_passing(error: Exception) -> bool:
    """Whether the same request may do better."""
    if isinstance(error, StreamDecodeError):
        return not error.lasting
    if isinstance(error, StreamAPIError):
        return any(name in _SERVERS_FAULT for name in _names(error))
    if isinstance(error, APIStatusError) and error.status_code == 408:
        return True
    return isinstance(
        error,
        (
            APIConnectionError,
            ConflictError,
            InternalServerError,
            StreamInterruptedError,
            StreamTimeoutError,
            WorkerDied,
        ),
    )


def _asked_pause(error: Exception) -> float | None:
    """How long the server wants to be left alone, if it says so."""
    return error.retry_after if isinstance(error, APIStatusError) else None


@attrs.define(eq=False)
class _Batch:
    """A run over the prompts, on one thread.

    :param prompts: those that have no answer yet; ``None`` where the next has not come yet.
    :param answers: where to write.
    :param workers: who asks.
    :param gate: how many at once.
    :param retries: how often a prompt is asked again after faults that may pass.
    :param meter: who is told.
    """

    prompts: Iterator[Prompt | None]
    answers: Answers
    workers: Workers
    gate: Gate
    retries: int
    meter: Meter
    _running: int = 0
    #: Why no more prompts are taken. What runs is paid for, and so ends first.
    _stopped: Failure | None = None
    #: The next prompt has not come yet.
    _awaits: bool = False
    #: Prompts to be asked again: when, a number that makes the order certain, and which.
    _again: list[tuple[float, int, Work]] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    def run(self) -> None:
        """Ask all prompts.

        :raises openai_stream.OpenAIStreamError: one that every prompt would meet.
        :raises Failure: the prompts are not what they must be, which a pipe shows only at last.
        """
        while True:
            now = time.monotonic()
            exhausted = self._start(now)
            if exhausted and not self._running and not self._again:
                if self._stopped is not None:
                    raise self._stopped
                return
            pause = self._pause(now)
            if self._awaits:
                pause = _LOOK_EVERY if pause is None else min(pause, _LOOK_EVERY)
            outcome = self.workers.outcome(pause)
            if outcome is not None:
                self._running -= 1
                self._take(outcome)
            self.meter.update()

    def _start(self, now: float) -> bool:
        """Start as many as may run.

        :param now: by :func:`time.monotonic`, here and in :meth:`_pause` the same: a gate that
            opens in between would be waited for by nobody.
        :returns: no prompt is left that was not asked yet.
        """
        self._awaits = False
        while self._running < self.gate.limit and self.gate.opens_at <= now:
            if self._again and self._again[0][0] <= now:
                work = heapq.heappop(self._again)[2]
            else:
                try:
                    prompt = next(self.prompts)
                except StopIteration:  # which is also what comes after any other exception
                    return True
                except Failure as failure:
                    self._stopped = failure
                    return True
                if prompt is None:
                    self._awaits = True
                    return False
                if prompt.error is not None:
                    self._fail(prompt, {"type": "PromptError", "message": prompt.error})
                    continue
                work = Work(prompt)
            work.begun = self.gate.begin()
            self.workers.submit(work)
            self._running += 1
        return False

    def _pause(self, now: float) -> float | None:
        """How long to wait for an outcome before something else is to be done."""
        if self._running >= self.gate.limit:
            return None
        due = self.gate.opens_at
        if due <= now:  # it is open, and there is only what waits by itself
            if not self._again:
                return None
            due = self._again[0][0]
        return max(0.0, due - time.monotonic())

    def _take(self, outcome: Outcome) -> None:
        work, error = outcome.work, outcome.error
        if outcome.answer is not None:
            self.gate.answered()
            self.answers.write(work.prompt.key, outcome.answer.response, None)
            self.meter.answers += 1
            return
        assert error is not None
        if _is_everybodys(error):
            raise Failure(
                f"{_ended(told(error))} Every other prompt would meet the same, so this run ends; "
                "the next one asks what has no answer yet"
            ) from error
        if _is_rate_limit(error):
            self.gate.limited(work.begun, self._running, _asked_pause(error))
            self.meter.opens_at = self.gate.opens_at
            self._ask_again(work, 0.0)
        elif _is_passing(error) and work.faults < self.retries:
            pause = min(_LONGEST_BACKOFF, 0.5 * 2.0 ** min(work.faults, 16))
            asked = min(_asked_pause(error) or 0.0, _LONGEST_ASKED)
            pause = max(pause * random.uniform(0.5, 1.0), asked)  # noqa: S311
            work.faults += 1
            self._ask_again(work, time.monotonic() + pause)
        else:
            self._fail(work.prompt, _described(error), _refusal(error))

    def _ask_again(self, work: Work, due: float) -> None:
        heapq.heappush(self._again, (due, next(self._numbers), work))

    def _fail(
        self, prompt: Prompt, error: dict[str, Any], response: dict[str, Any] | None = None
    ) -> None:
        self.answers.write(prompt.key, response, error)
        self.meter.failures += 1


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


#: What to do about a prompt that failed, though it was asked so many times.
_ASK_AGAIN = "To run this once more may help; --retries says how often a run itself asks again"


def _described(error: Exception) -> dict[str, Any]:
    code = getattr(error, "code", None)
    return {
        "type": type(error).__name__,
        # This is about the command, which has asked again by itself.
        "message": str(error).replace(ASK_AGAIN, _ASK_AGAIN),
        **({} if code is None else {"code": code}),
    }


def _refusal(error: Exception) -> dict[str, Any] | None:
    """The response where there was one, as a line of answers has it."""
    if not isinstance(error, APIStatusError):
        return None
    return {
        "status_code": error.status_code,
        "request_id": error.request_id,
        "body": error.body,
    }


def _missing(
    prompts: Iterator[Prompt | None], answers: Answers, meter: Meter
) -> Iterator[Prompt | None]:
    """The prompts that have no answer yet."""
    for prompt in prompts:
        if prompt is not None and prompt.key in answers.done:
            meter.present += 1
        else:
            yield prompt


def _dask_workers(ctx: click.Context, scheduler: str, target: Target, meter: Meter) -> Workers:
    try:
        from .dask_workers import DaskWorkers  # noqa: PLC0415 - not everybody has it
    except ImportError as error:
        raise Failure(
            f"--dask needs more packages ({error}): {install('dask')}", Status.USAGE
        ) from error
    return DaskWorkers(scheduler, target.with_address(), meter.add_tokens)


@click.command(
    short_help="Ask many prompts, and keep each answer once.",
    epilog="""\b
Examples:
  openai-stream batch prompts.jsonl -o answers.jsonl
  openai-stream batch prompts.jsonl -o answers.jsonl --concurrency 8 --system "Be brief."
  openai-stream batch prompts.jsonl -o answers.jsonl --option temperature 0 --retries 10
  openai-stream batch prompts.jsonl -o answers.jsonl --dask local
""",
)
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="ANSWERS.jsonl",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="The file of answers; - is standard output.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="How many prompts are asked at once; with --local at most 4.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How often a prompt is asked again after faults that may pass. Rate limits do not count.",
)
@click.option(
    "--dask",
    "scheduler",
    metavar="SCHEDULER",
    help="Spread the prompts over the workers of the Dask cluster at this address; 'local' starts "
    "one on this machine.",
)
@click.option("-s", "--system", metavar="TEXT", help="What the model is told first.")
@request_options("--option")
@target_options
@click.pass_context
def batch(
    ctx: click.Context,
    prompts: str,
    output: str,
    concurrency: int,
    retries: int,
    scheduler: str | None,
    system: str | None,
    options: dict[str, Any],
    target: Target,
    model: str | None,
) -> None:
    """Ask all PROMPTS, many at a time, and write each answer to ANSWERS.jsonl when it is whole.

    Run it again, after Ctrl-C, a crash or failures, and it asks only what has no answer yet. Rate
    limits slow it down, they fail nothing.

    Each line of PROMPTS is JSON: a string; an object with "prompt" or "messages", whose other
    fields go into the request; or a line of the API's own batch files, whose "body" is sent as it
    is, to the endpoint of its "url". A line may have a "custom_id" or an "id", which then must be
    its own; the others are known by their number and content. PROMPTS may be - for standard input.

    Lines of answers have the form of the API's batch files, in the order in which they came:
    "custom_id"; "response" with "status_code", "request_id" and "body"; and "error", which is null.
    Where it is not, the prompt has failed; the next run drops that line and tries again.

    With --dask, the workers need this package with its extras cli and dask, and take the API key
    from their own environment: it is not sent to them. Those of 'local' inherit yours.
    """
    fields = dict.fromkeys(("messages", "prompt", "custom_id", "id"), "the prompts of a file")
    check_options(options, "--option", {**fields, "model": model and "--model"})
    into = File.written("the answers", output)
    look_at_files(
        ctx, target, model, reads=[File.read("the prompts", prompts)], writes=[into, STDERR]
    )
    if scheduler is not None and ctx.find_object(Recording) is not None:
        raise click.UsageError("what the workers of --dask get cannot be recorded from here")
    if target.local:
        concurrency = min(concurrency, _LOCAL_SLOTS)
    if target.local and scheduler not in (None, "local"):
        raise click.UsageError("the workers of a cluster do not reach a model on this machine")
    if prompts == "-" and sys.stdin is None:
        raise Failure("standard input is closed", Status.USAGE)
    with ExitStack() as stack:
        file = stack.enter_context(click.open_file(prompts, "rb"))
        given = "standard input" if prompts == "-" else prompts
        # The ids do not depend on what is asked of which model.
        total = count_prompts(file, given, Defaults(""))
        answers = Answers(into)
        stack.callback(answers.close)
        target, name = stack.enter_context(target.opened(model, CHAT.model, concurrency))
        meter = Meter(total)
        stack.enter_context(meter)
        if scheduler is None:
            client = stack.enter_context(client_of(ctx, target, max_retries=0))
            workers: Workers = Streams(client, meter.add_tokens)
        else:
            workers = _dask_workers(ctx, scheduler, target, meter)
        stack.callback(workers.close)
        asked = read_prompts(lines_of(file), given, Defaults(name, system, options))
        missing = _missing(asked, answers, meter)
        _Batch(missing, answers, workers, Gate(concurrency), retries, meter).run()
    if meter.failures:
        ctx.exit(Status.SOME_FAILED)
