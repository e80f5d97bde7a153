"""``record``, ``replay`` and ``serve``: keep what a server sent, and have it again."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
import click

from openai_stream import Client, OpenAIStreamError, Timeout
from openai_stream.errors import RecordingError
from openai_stream.recordings import RecordedExchange, Recorder, read_recording
from openai_stream.recordings.upstream import Upstream
from openai_stream.redaction import shown
from openai_stream.testing import ScriptedServer
from openai_stream.testing.passing import passed_on
from openai_stream.testing.recorded import RecordedAnswers

from .asking import show
from .batch import batch
from .characters import harmless
from .endpoints import ENDPOINTS, Endpoint
from .failures import Failure, Status, told
from .files import File
from .options import Number
from .output import Lines, Output, Prose
from .proxy import address_of, listening, record_others, serve_for_ever
from .questions import chat, complete, respond
from .targets import Recording, reach_loopback

__all__ = ["record", "replay", "serve"]


class _Record(click.Group):
    """Its own options stand before FILE: what follows FILE is the command to be recorded."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0].partition("=")[0] in ("--proxy", "--base-url"):
            raise click.UsageError(f"{args[0]} stands before FILE: record {args[0]} … FILE", ctx)
        return super().resolve_command(ctx, args)


def _base_url_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--base-url",
        metavar="URL",
        help="The server to pass requests on to.  [default: OPENAI_BASE_URL, or OpenAI]",
    )(command)


@click.group(
    cls=_Record,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="""\b
Examples:
  openai-stream record talk.rec chat "Why is the sky blue?"
  openai-stream record talk.rec batch prompts.jsonl -o answers.jsonl
  openai-stream record --proxy 8123 talk.rec
  openai-stream replay talk.rec --speed 2
  openai-stream serve talk.rec
""",
)
@click.option(
    "--proxy",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Run no COMMAND, but record the programs that have http://127.0.0.1:PORT/v1 as their base "
    "URL, until Ctrl-C; 0 is any port that is free.",
)
@_base_url_option
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.pass_context
def record(ctx: click.Context, file: str, proxy: int | None, base_url: str | None) -> None:
    """Run a COMMAND, and keep in FILE what the server sends, byte for byte, with its times.

    With --proxy, any program that speaks OpenAI's protocol is recorded instead. Its requests are
    passed on with the key that it has, and the answers passed back as they come.

    Keys and what else identifies you is taken out; what was asked and answered is kept. A FILE that
    is there is replaced once there is an answer to keep.
    """
    written = File.written("the recording", file)
    if proxy is not None:
        if ctx.invoked_subcommand is not None:
            raise click.UsageError("--proxy records other programs: it goes with no COMMAND", ctx)
        record_others(written, proxy, base_url)
    elif base_url is not None:
        raise click.UsageError("--base-url stands behind the COMMAND, or goes with --proxy", ctx)
    elif ctx.invoked_subcommand is None:
        raise click.UsageError("Missing command, or --proxy.", ctx)
    ctx.obj = Recording(written)


for command in (chat, complete, respond, batch):
    record.add_command(command)


def _speed_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--speed",
        type=Number(min=0),
        default=1.0,
        show_default=True,
        metavar="N",
        help="How many times faster than it was recorded; 0 waits for nothing.",
    )(command)


@click.command(
    epilog="""\b
Examples:
  openai-stream replay talk.rec
  openai-stream replay talk.rec --speed 10
  openai-stream replay talk.rec --speed 0 --json
""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_speed_option
@click.option("--json", "as_json", is_flag=True, help="One event a line, as JSON.")
@click.option("--stats", is_flag=True, help="Then print the figures of each answer.")
@click.pass_context
def replay(ctx: click.Context, file: str, speed: float, as_json: bool, stats: bool) -> None:
    """Show the answers of a recording again, at the pace at which they came.

    Its bytes go through the whole library, as they did when they were recorded; no key is needed.
    Where an attempt failed its error is shown, and the next follows; the exit status is that of the
    last. FILE may be - for standard input.
    """
    exchanges = _read(file)
    reach_loopback()
    failure: Failure | None = None
    for number, exchange in enumerate(exchanges, start=1):
        if failure is not None:
            failure.show()
        failure = None
        try:
            _replay(exchange, number, speed, as_json, stats)
        except OpenAIStreamError as error:
            failure = Failure.of(error)
    if failure is not None:
        raise failure


def _read(path: str) -> list[RecordedExchange]:
    if path != "-":
        return read_recording(path)
    if sys.stdin is None:
        raise Failure("standard input is closed", Status.USAGE)
    # It may be looked at more than once, which a pipe cannot.
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        try:
            return read_recording(copy.name)
        except RecordingError as error:
            raise Failure(told(error).replace(copy.name, "standard input")) from error


def _replay(
    exchange: RecordedExchange, number: int, speed: float, as_json: bool, stats: bool
) -> None:
    path = exchange.request.path
    endpoint = next((one for end, one in ENDPOINTS.items() if path.endswith(end)), None)
    try:
        body = exchange.request.json if endpoint is not None else None
    except (ValueError, RecursionError):
        body = None
    if endpoint is None or not isinstance(body, dict):
        raise Failure(
            harmless(
                f"exchange {number}: the endpoint {path} is unknown, or the request is not JSON"
            ),
            Status.USAGE,
        )
    if exchange.end not in ("eof", "reset", "open"):
        # The recording ends before the answer did: more does not come.
        exchange = attrs.evolve(exchange, end="eof")
    output: Output = Lines() if as_json else Prose(endpoint, body=body)
    with ScriptedServer() as server:
        server.answer_from([exchange], match="turn", speed=speed)
        # Whatever silence was recorded, or made of it by --speed, is to be waited for.
        timeout = Timeout(idle=None, gap=None)
        with Client(
            api_key="none", base_url=server.base_url, timeout=timeout, max_retries=0
        ) as client:
            _ask_again(endpoint, client, body, output, stats)


def _ask_again(
    endpoint: Endpoint, client: Client, body: dict[str, Any], output: Output, stats: bool
) -> None:
    body = dict(body)
    streamed = body.pop("stream", False) is True
    create = endpoint.create(client)
    if streamed:
        show(endpoint, create(stream=True, nowait=True, extra_body=body), output, stats, body)
    else:
        output.whole(create(extra_body=body))


@click.command(
    epilog="""\b
Examples:
  openai-stream serve talk.rec
  openai-stream serve talk.rec more.rec --match turn --speed 0
  openai-stream serve talk.rec --proxy-on-miss
""",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where to listen.  [default: any that is free]",
)
@click.option(
    "--match",
    type=click.Choice(["request", "turn"]),
    default="request",
    show_default=True,
    help="Which answer: the one to the same request, or one after the other.",
)
@_speed_option
@click.option(
    "--proxy-on-miss",
    is_flag=True,
    help="Pass on what was not recorded, and add the answer to the last FILE if it is whole and "
    "its status good. That FILE need not be there yet.",
)
@_base_url_option
def serve(
    files: tuple[str, ...],
    port: int,
    match: Any,
    speed: float,
    proxy_on_miss: bool,
    base_url: str | None,
) -> None:
    """Answer as recorded: an OpenAI-compatible server on this machine, until Ctrl-C.

    It says where it listens; give a program that address as OPENAI_BASE_URL. A request that was not
    recorded gets status 404. The fields of a request must be the same, their order need not.
    """
    if base_url is not None and not proxy_on_miss:
        raise click.UsageError("--base-url goes with --proxy-on-miss")
    if match == "turn" and proxy_on_miss:
        raise click.UsageError("--match turn misses nothing, so --proxy-on-miss has no sense")
    exchanges = _read_all(files, last_may_be_new=proxy_on_miss)
    with ExitStack() as stack:
        server = stack.enter_context(listening("--port", port))
        count = "1 answer" if len(exchanges) == 1 else f"{len(exchanges)} answers"
        said = f"{count} at {server.base_url}"
        answers = RecordedAnswers(exchanges, match, speed)
        if proxy_on_miss:
            url = address_of(base_url, server)
            recorder = stack.enter_context(Recorder(files[-1], append=True))
            upstream = Upstream(url, recorder, answers.add)
            stack.callback(upstream.close)
            stack.callback(server.close)  # before the recording
            answers.missing = passed_on(upstream)
            said += f", others from {shown(url)}"
        server.always(answers)
        click.echo(said)
        serve_for_ever(server)


def _read_all(files: Sequence[str], last_may_be_new: bool) -> list[RecordedExchange]:
    exchanges: list[RecordedExchange] = []
    for number, file in enumerate(files, 1):
        may_be_new = last_may_be_new and number == len(files)
        if may_be_new and (not os.path.exists(file) or os.path.getsize(file) == 0):
            continue
        if not os.path.exists(file):
            raise click.UsageError(f"File {file!r} does not exist.")
        exchanges += read_recording(file)
    return exchanges
