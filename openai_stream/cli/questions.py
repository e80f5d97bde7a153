"""``chat``, ``complete`` and ``respond``: one question, or a conversation on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from .asking import Asking
from .conversation import converse
from .endpoints import CHAT, COMPLETE, RESPOND, Endpoint
from .files import STDIN, STDOUT
from .notes import is_terminal, remark, warnings_told
from .options import check_text
from .output import Lines, Output, Prose
from .targets import (
    Target,
    check_options,
    client_of,
    look_at_files,
    request_options,
    target_options,
)

__all__ = ["chat", "complete", "respond"]

_ABOUT_PROMPTS = """
The prompt comes from the arguments, from standard input, or from both: then the arguments come
first and the input after an empty line. In a pipe the output is the plain text; reasoning, notes
and figures go to standard error.
"""


def _answer_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--restarts",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="Ask again, up to N times, for an answer that breaks off after it began. A "
            "terminal shows where the new one begins; a pipe gets the text once it is whole.",
        ),
        click.option(
            "--stats",
            is_flag=True,
            help="Then print, on standard error: time to the first token, tokens and events a "
            "second, the longest gap, the usage.",
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="One event a line, as JSON, with all that the server sent.",
        ),
        request_options("-o"),
        target_options,
    ):
        command = option(command)
    return command


def _system_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("-s", "--system", metavar="TEXT", help="The system message.")(command)


@click.command(
    epilog="""\b
Examples:
  openai-stream chat "Why is the sky blue?"
  openai-stream chat --stats -p temperature 0 "Tell me about the sea"
  cat notes.txt | openai-stream chat --system "Be brief." "Summarize this:"
  openai-stream chat --json "Why is the sky blue?" | head -n 1
  openai-stream chat --local -p max_tokens 40 "Tell me about the sea"
  openai-stream chat
""",
)
@click.argument("prompt", nargs=-1)
@_system_option
@_answer_options
@click.pass_context
def chat(ctx: click.Context, /, **settings: Any) -> None:
    _run(ctx, CHAT, **settings)


@click.command(
    epilog="""\b
Examples:
  openai-stream complete "Once upon a time"
  openai-stream complete -p max_tokens 40 -p stop '["."]' "The sea is"
  cat story.txt | openai-stream complete
""",
)
@click.argument("prompt", nargs=-1)
@_answer_options
@click.pass_context
def complete(ctx: click.Context, /, **settings: Any) -> None:
    _run(ctx, COMPLETE, **settings)


@click.command(
    epilog="""\b
Examples:
  openai-stream respond "Why is the sky blue?"
  openai-stream respond -p reasoning '{"effort": "low"}' "Is 91 a prime?"
  cat notes.txt | openai-stream respond --system "Be brief." "Summarize this:"
""",
)
@click.argument("prompt", nargs=-1)
@_system_option
@_answer_options
@click.pass_context
def respond(ctx: click.Context, /, **settings: Any) -> None:
    _run(ctx, RESPOND, **settings)


chat.help = f"""Ask for a chat completion, and show it as it comes.

{_ABOUT_PROMPTS}

Without a prompt, on a terminal, it is a conversation: Ctrl-C stops the answer, Ctrl-D ends.
"""
complete.help = f"""Have a text continued, through the Completions API.

{_ABOUT_PROMPTS}
"""
respond.help = f"""Ask for a response, through the Responses API, and show it as it comes.

{_ABOUT_PROMPTS}

Without a prompt, on a terminal, it is a conversation: Ctrl-C stops the answer, Ctrl-D ends.
"""


def _run(
    ctx: click.Context,
    endpoint: Endpoint,
    *,
    prompt: tuple[str, ...],
    target: Target,
    model: str | None,
    options: dict[str, Any],
    as_json: bool,
    stats: bool,
    restarts: int,
    system: str | None = None,
) -> None:
    taken = {endpoint.question_field: "the prompt", "model": model and "--model"}
    if endpoint.system_field is not None:
        taken[endpoint.system_field] = system and "--system"
    check_options(options, "--option", taken)
    look_at_files(ctx, target, model, reads=[STDIN], writes=[STDOUT])
    check_text("--system", system)
    question = _question(prompt)
    talking = question is None and endpoint is not COMPLETE and is_terminal(sys.stdout)
    if question is None and not talking:
        raise click.UsageError("no prompt: give one as an argument, or on standard input", ctx)
    output: Output = Lines() if as_json else Prose(endpoint, held=restarts > 0, body=options)
    with (
        warnings_told(restarts=as_json or not is_terminal(sys.stdout)),
        target.opened(model, endpoint.model) as (opened, name),
        client_of(ctx, opened) as client,
    ):
        fields = {"model": name, **options}
        asking = Asking(endpoint, client, fields, system, restarts, stats)
        if question is None:
            converse(asking, output)
        else:
            asking.show(asking.start([{"role": "user", "content": question}]), output)


def _question(words: tuple[str, ...]) -> str | None:
    """The prompt; ``None`` where there is none and somebody could be asked for one.

    :raises click.UsageError: there is none.
    """
    parts = [" ".join(words)]
    check_text("the prompt", parts[0])
    asked = is_terminal(sys.stdin)
    if not asked and sys.stdin is not None:
        # Bytes, as a text file need not be in the encoding of the terminal's language.
        given = sys.stdin.buffer.read()
        if b"\0" in given:
            raise click.UsageError("standard input is not text: there are null bytes in it")
        text = given.decode("utf-8", "replace")
        if "\ufffd" in text and b"\xef\xbf\xbd" not in given and is_terminal(sys.stderr):
            remark("standard input is not UTF-8: what could not be read is a \ufffd in the prompt")
        parts.append(text.rstrip("\n"))
    question = "\n\n".join(part for part in parts if part.strip())
    if question:
        return question
    if asked:
        return None
    raise click.UsageError("no prompt: give one as an argument, or on standard input")
