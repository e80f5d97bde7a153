"""How a command ends: one line on standard error, and the exit status that says what happened."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from click.exceptions import Exit

from openai_stream import ConfigurationError, OpenAIStreamError, StreamError

from .characters import harmless
from .options import as_options

__all__ = ["Failure", "Program", "Status", "told"]


class Status(enum.IntEnum):
    """The exit statuses, each with what it means."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Status:
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    DONE = 0, "all went well"
    FAILED = 1, "no answer: no connection, an error status, a file that cannot be read or written"
    USAGE = 2, "wrong use: the command line, the environment, or what is in a file"
    BROKEN_OFF = 3, "the answer broke off: what was printed is not the whole"
    SOME_FAILED = 4, "batch: some prompts have no answer"
    INTERRUPTED = 130, "Ctrl-C"
    CLOSED_PIPE = 141, "the reader of the output has gone, as in: openai-stream chat … | head -n 1"


def told(error: BaseException) -> str:
    """The error in one line, harmless on a terminal."""
    return harmless(" ".join(str(error).split())) or type(error).__name__


_ASK_AGAIN = "Asking again may help; --restarts 1 does that by itself"


class Failure(click.ClickException):
    """The end of a command: a line for standard error, and an exit status."""

    def __init__(self, message: str, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.exit_code = int(status)  # type: ignore[misc]  # click sets it so itself

    @classmethod
    def of(cls, error: OpenAIStreamError) -> Failure:
        """How the command ends that met this error."""
        message = as_options(told(error), _ASK_AGAIN)
        if isinstance(error, ConfigurationError):
            return cls(message, Status.USAGE)
        broke_off = isinstance(error, StreamError)
        return cls(message, Status.BROKEN_OFF if broke_off else Status.FAILED)


class Program(click.Group):
    """The command with its subcommands: every way in which one of them can end is seen to here."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            help=_HELP,
            epilog=_epilog(),
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )
        self.params.append(_version())

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _ended():  # --help and --version of the program itself are shown here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _ended():
            return super().invoke(ctx)


@contextmanager
def _ended() -> Iterator[None]:
    """The ways in which a command ends otherwise than well."""
    try:
        yield
    except OpenAIStreamError as error:
        raise Failure.of(error) from error
    except KeyboardInterrupt:
        raise Exit(Status.INTERRUPTED) from None
    except BrokenPipeError:
        # The interpreter's last flush would complain.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(Status.CLOSED_PIPE) from None
    except OSError as error:  # a full disk, a file that may not be read
        why = error.strerror or told(error)
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        raise Failure(harmless(f"{name}{why}")) from error


_HELP = """
Stream answers of the OpenAI API, and of every server that speaks its protocol.

The API key comes from OPENAI_API_KEY, the server's address from --base-url or OPENAI_BASE_URL. Each
command has a --help with examples.
"""


def _epilog() -> str:
    lines = [f"  {status:3}  {status.meaning}" for status in Status]
    return "\b\nExit status:\n" + "\n".join(lines)


def _version() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            from importlib.metadata import version  # noqa: PLC0415 - rarely wanted

            click.echo(f"openai-stream {version('openai-stream')}")
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version and exit.",
    )
