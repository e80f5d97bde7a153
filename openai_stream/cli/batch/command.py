"""The command ``batch``: its options, and the parts that it puts together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import click

from openai_stream.cli.endpoints import CHAT
from openai_stream.cli.failures import Failure, Status
from openai_stream.cli.files import STDERR, File
from openai_stream.cli.notes import remark
from openai_stream.cli.options import Number, check_text
from openai_stream.cli.targets import (
    DEFAULT_MODEL,
    Recording,
    Target,
    check_options,
    client_of,
    look_at_files,
    named_model,
    request_options,
    target_options,
)
from openai_stream.extras import install

from .answers import Answers
from .budget import Budget
from .check import check, present, write_requests
from .gate import Gate
from .progress import Meter
from .prompts import Defaults, Prompt, count_prompts, lines_of, read_prompts
from .run import Batch
from .sockets import allow_sockets
from .workers import Streams, Workers

__all__ = ["batch"]

_LOCAL_SLOTS = 4
_MOST_DIFFERENCES = 3  # that are told
_KNOWN_REASONS = ("stop", "length", "content_filter", "tool_calls", "function_call", "error")


def _missing(
    prompts: Iterator[Prompt | None], answers: Answers, meter: Meter
) -> Iterator[Prompt | None]:
    """The prompts that have no answer yet. Says so if others were answered to something else."""
    told: set[str] = set()
    for prompt in prompts:
        if prompt is None or prompt.key not in answers:
            yield prompt
            continue
        meter.present += 1
        if len(told) < _MOST_DIFFERENCES:
            difference = answers.difference(prompt)
            if difference is not None and difference not in told:
                told.add(difference)
                meter.note(
                    f"existing answers were asked otherwise: {difference}; they are kept: "
                    "to ask them again, write into another file"
                )


def _reasons(ctx: click.Context, parameter: click.Parameter, given: str | None) -> frozenset[str]:
    reasons = frozenset(one.strip() for one in (given or "").split(",")) - {""}
    for unknown in sorted(reasons.difference(_KNOWN_REASONS)):
        remark(f"--reject {unknown}: usual finish reasons are {', '.join(_KNOWN_REASONS)}")
    return reasons


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
  openai-stream batch prompts.jsonl -o answers.jsonl --rpm 500 --reject length
  openai-stream batch prompts.jsonl -o answers.jsonl --dask local
  openai-stream batch prompts.jsonl --check
""",
)
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "-o",
    "--output",
    metavar="ANSWERS.jsonl",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="The file of answers; - is standard output.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 2000),
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
    "--rpm",
    type=Number(min=0, min_open=True),
    metavar="N",
    help="At most N requests a minute, evenly. What is left by the server's x-ratelimit headers is "
    "kept to anyway.",
)
@click.option(
    "--tpm",
    type=Number(min=0, min_open=True),
    metavar="N",
    help="At most N tokens a minute, of prompts and answers.",
)
@click.option(
    "--reject",
    metavar="REASON,…",
    callback=_reasons,
    help="Ask again, up to --retries times, for answers with one of these finish reasons, as in "
    "--reject length,content_filter; in a further run too.",
)
@click.option(
    "--id-field",
    metavar="NAME",
    help="The field with the id of a line.  [default: custom_id, or id]",
)
@click.option(
    "--check",
    "checked",
    is_flag=True,
    help="Look over the prompts, say what a run would ask, and ask nothing.",
)
@click.option(
    "--requests",
    "into_requests",
    metavar="REQUESTS.jsonl",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Ask nothing, and write what has no answer yet as a file for the API's own batches.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Continue even if all prompts fail alike, as with a wrong model or a dead server.",
)
@click.option(
    "--progress",
    type=Number(min=0),
    metavar="SECONDS",
    help="How often a line reports the progress, if standard error is not a terminal; 0 for "
    "never.  [default: 10, after a minute 60]",
)
@click.option(
    "--dask",
    "scheduler",
    metavar="SCHEDULER",
    help="Spread the prompts over the workers of the Dask cluster at this address; 'local' starts "
    "one on this machine.",
)
@click.option("-s", "--system", metavar="TEXT", help="The system message.")
@request_options()
@target_options
@click.pass_context
def batch(
    ctx: click.Context,
    prompts: str,
    output: str | None,
    concurrency: int,
    retries: int,
    rpm: float | None,
    tpm: float | None,
    reject: frozenset[str],
    id_field: str | None,
    checked: bool,
    into_requests: str | None,
    keep_going: bool,
    progress: float | None,
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
    is, to the endpoint of its "url": chat completions, completions, responses, embeddings,
    moderations. A line may have a "custom_id" or an "id", which then must be its own; the others
    are known by their number and content. PROMPTS may be - for standard input.

    Lines of answers have the form of the API's batch files, in the order in which they came:
    "custom_id"; "response" with "status_code", "request_id" and "body"; and "error", which is null.
    Where it is not, the prompt has failed; the next run drops that line and tries again. What the
    API's own batches answered may be added to the file: --requests writes a file for them.

    With --dask, the workers need this package with its extras cli and dask, and take the API key
    from their own environment: it is not sent to them. Those of 'local' inherit yours.
    """
    fields = dict.fromkeys(("messages", "prompt", "custom_id", "id"), "the prompts of a file")
    check_options(options, "--option", {**fields, "model": model and "--model"})
    check_text("--system", system)
    if checked and into_requests is not None:
        raise click.UsageError("--check writes nothing, so it does not go with --requests", ctx)
    asks = not checked and into_requests is None
    if output is None and asks:
        raise click.UsageError("the answers go to --output ANSWERS.jsonl, which is missing", ctx)
    writes = [
        *([] if output is None else [File.written("the answers", output)]),
        *([] if into_requests is None else [File.written("the requests", into_requests)]),
    ]
    look_at_files(
        ctx, target, model, reads=[File.read("the prompts", prompts)], writes=[*writes, STDERR]
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
        defaults = Defaults(named_model(model) or DEFAULT_MODEL, system, options, id_field)
        if not asks:
            looked_at = read_prompts(lines_of(file), given, defaults, strict=False)
            done = present(output, reject)
            if into_requests is None:
                ctx.exit(check(looked_at, given, done))
            try:
                opened = click.open_file(into_requests, "wb", atomic=into_requests != "-")
            except OSError as error:  # of the file that is to be renamed at the end
                raise Failure(f"{into_requests}: {error.strerror}") from error
            with opened as requests:
                wrong = write_requests(looked_at, done, requests)
            if wrong:
                lines = "1 line is" if wrong == 1 else f"{wrong} lines are"
                raise Failure(f"{given}: {lines} wrong: --check says which", Status.USAGE)
            return
        assert output is not None
        total = count_prompts(file, given, defaults)
        if total == 0:
            remark(f"{given} has no prompts")
        answers = Answers(writes[0], reject)
        stack.callback(answers.close)
        target, name = stack.enter_context(target.opened(model, CHAT.model, concurrency))
        meter = Meter(total, "standard output" if output == "-" else output, progress)
        stack.enter_context(meter)
        gate = Gate(concurrency, Budget(rpm, tpm))
        if scheduler is None:
            allow_sockets(concurrency)
            client = stack.enter_context(client_of(ctx, target, max_retries=0, readers=1))
            workers: Workers = Streams(client, meter.add_tokens, gate.budget.told)
        else:
            workers = _dask_workers(ctx, scheduler, target, meter)
        stack.callback(workers.close)
        defaults = attrs.evolve(defaults, model=name)
        asked = read_prompts(lines_of(file), given, defaults)
        missing = _missing(asked, answers, meter)
        Batch(missing, answers, workers, gate, retries, meter, reject, keep_going).run()
    if meter.failures:
        ctx.exit(Status.SOME_FAILED)
