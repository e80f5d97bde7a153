"""Which server a command asks: its options, and the one place where a client is made."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from json import JSONDecodeError
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import click

from openai_stream import AzureClient, Client, Timeout, strict_json
from openai_stream.local import LocalServer
from openai_stream.recordings import Recorder
from openai_stream.server_errors import clip

from .files import File, check_apart, open_stream
from .notes import is_terminal, remark
from .options import Number, check_text

__all__ = [
    "DEFAULT_MODEL",
    "AnyClient",
    "Recording",
    "Target",
    "check_options",
    "client_of",
    "json_or_text",
    "look_at_files",
    "named_model",
    "reach_loopback",
    "request_options",
    "target_options",
]

AnyClient: TypeAlias = Client | AzureClient

#: Asked for if nobody names another. One that OpenAI has announced no end of; of models that are
#: generally available it does so half a year before.
DEFAULT_MODEL = "gpt-6-luna"
#: Where a model may be named, the first that is set and not blank.
_VARIABLES = ("OPENAI_STREAM_MODEL", "OPENAI_MODEL")
_OPENAI = "api.openai.com"


@attrs.frozen
class Target:
    """The server to ask, as the command line names it. It can be pickled, and holds no key.

    :param base_url: ``None`` for that of the environment.
    :param azure: it is Azure's, and ``base_url`` its endpoint.
    :param timeout: seconds that the server may be silent; ``None`` for the library's limits.
    :param local: it is a model on this machine, that of the package or the given GGUF file.
    """

    base_url: str | None = attrs.field(default=None, repr=False)
    azure: bool = False
    timeout: float | None = None
    local: bool = False

    def client(self, max_retries: int = 2, readers: int | None = None) -> AnyClient:
        """A client for it; the key is that of the environment.

        :param readers: so many threads read its streams together.
        :raises openai_stream.ConfigurationError: no key where one is needed, or a bad address.
        """
        timeout = Timeout() if self.timeout is None else Timeout(idle=self.timeout)
        if self.azure:
            return AzureClient(
                endpoint=self.base_url, timeout=timeout, max_retries=max_retries, readers=readers
            )
        return Client(
            # No key of the environment has any business with a model on this machine.
            api_key="none" if self.local else None,
            base_url=self.base_url,
            timeout=timeout,
            max_retries=max_retries,
            readers=readers,
        )

    def with_address(self) -> Target:
        """The same for another process, which has another environment."""
        names = ("OPENAI_BASE_URL", "OPENAI_API_ENDPOINT")
        if self.azure:
            names = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_ENDPOINT")
        given = [self.base_url, *map(os.environ.get, names)]
        return attrs.evolve(
            self, base_url=next((url for url in given if url and url.strip()), None)
        )

    def _is_openai(self) -> bool:
        url = self.with_address().base_url
        return url is None or urlsplit(url).hostname == _OPENAI

    @contextmanager
    def opened(
        self, model: str | None, default_model: str | None, n_parallel: int = 1
    ) -> Iterator[tuple[Target, str]]:
        """The target with an address, and the model's name; a local server runs meanwhile.

        :param model: what ``--model`` says.
        :param default_model: what it means to leave that out; ``None`` if OpenAI has no such model.
        :param n_parallel: how many answers a local server gives at once.
        :raises click.UsageError: no model is named, and the server has none that everybody has.
        """
        if not self.local:
            name = named_model(model)
            if self.azure and not name:
                raise click.UsageError("--azure needs --model, the name of your deployment")
            if default_model is None and not name and self._is_openai():
                raise click.UsageError(
                    "OpenAI has retired its last model for text completions, so there is none to "
                    "ask by default: use chat, or name a model of another server with --model "
                    "(and the server with --base-url)"
                )
            yield self, name or default_model or DEFAULT_MODEL
            return
        reach_loopback()
        with LocalServer(model, n_parallel=n_parallel) as server:
            yield attrs.evolve(self, base_url=server.base_url), server.model


def named_model(model: str | None) -> str | None:
    """The model that the user has named, if any.

    :param model: what ``--model`` says.
    """
    named = (model, *map(os.environ.get, _VARIABLES))
    return next((one for one in named if one and one.strip()), None)


def check_options(options: dict[str, Any], flag: str, taken: dict[str, str | None]) -> None:
    """Refuse fields that would silently take the place of something else that the user gave.

    :param options: what :func:`request_options` gives.
    :param flag: how that option is written.
    :param taken: fields, each with what fills it; ``None`` if nothing does this time.
    :raises click.UsageError: naming the two.
    """
    for name, source in taken.items():
        if source is not None and name in options:
            raise click.UsageError(
                f"{flag} {name} does not go with {source}: one would replace the other"
            )


def reach_loopback() -> None:
    """Have 127.0.0.1 be this machine: a proxy of the environment knows another."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


@attrs.frozen
class Recording:
    """What a ``record`` around a command leaves in click's context.

    :param file: to write to.
    """

    file: File


def look_at_files(
    ctx: click.Context,
    target: Target,
    model: str | None,
    reads: Sequence[File],
    writes: Sequence[File],
) -> None:
    """Refuse a command whose files are not all different ones, before any is opened.

    :param reads: what the command reads; a model's file is added.
    :param writes: what it writes; the file of a ``record`` around it is added.
    :raises click.UsageError: naming the two that are the same.
    """
    recording = ctx.find_object(Recording)
    check_apart(
        [*reads, *([File.read("the model", model)] if target.local and model else [])],
        [*([recording.file] if recording is not None else []), *writes],
    )


@contextmanager
def client_of(
    ctx: click.Context, target: Target, max_retries: int = 2, readers: int | None = None
) -> Iterator[AnyClient]:
    """The client of a command; where a ``record`` is around that, it is recorded."""
    recording = ctx.find_object(Recording)
    with ExitStack() as stack:
        client = target.client(max_retries, readers)
        stack.enter_context(client)
        if recording is not None:
            stream = open_stream(recording.file)
            path = str(recording.file.path) if stream is None else stream
            stack.enter_context(Recorder(path)).watch(client)
        yield client


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which server is asked: the command gets a ``target`` and a ``model``."""

    @functools.wraps(command)
    def with_target(
        *, base_url: str | None, azure: bool, local: bool, timeout: float | None, **others: Any
    ) -> None:
        if local and (azure or base_url):
            raise click.UsageError("--local goes with neither --azure nor --base-url")
        check_text("--model", others.get("model"))
        command(target=Target(base_url, azure, timeout, local), **others)

    decorated: Callable[..., None] = with_target
    for option in (
        click.option(
            "--timeout",
            type=Number(min=0, min_open=True),
            metavar="SECONDS",
            help="How long the server may be silent.  [default: 120]",
        ),
        click.option(
            "--local",
            is_flag=True,
            help="A small model on this machine; no key is needed. --model may then be the path of "
            "a GGUF file.",
        ),
        click.option(
            "--azure",
            is_flag=True,
            help="Azure: the key from AZURE_OPENAI_API_KEY, the address from --base-url or "
            "AZURE_OPENAI_ENDPOINT; --model is the deployment.",
        ),
        click.option(
            "--base-url",
            metavar="URL",
            help="The server's address.  [default: OPENAI_BASE_URL, or OpenAI]",
        ),
        click.option(
            "-m", "--model", help=f"The model.  [default: {_VARIABLES[0]}, or {DEFAULT_MODEL}]"
        ),
    ):
        decorated = option(decorated)
    return decorated


def json_or_text(text: str) -> Any:
    """JSON if it is some, otherwise the string itself."""
    try:
        return strict_json.loads_finite(text)
    except (ValueError, RecursionError) as error:
        # What only Python takes for JSON: somebody may have meant a number.
        if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
            remark(f"{error}: {clip(text, 40)} is sent as text")
        return text


def request_options(old: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option for other fields of the request: the command gets them as the dict ``options``.

    :param old: how it was written before, which still works.
    """

    def as_dict(
        ctx: click.Context, parameter: click.Parameter, pairs: tuple[tuple[str, str], ...]
    ) -> dict[str, Any]:
        given, flag = {}, parameter.opts[0]
        for key, value in pairs:
            check_text(f"--option {key}", key + value)
            # The next option, or the prompt, was taken for the value.
            if "=" in key:
                field, _, meant = key.partition("=")
                raise click.BadParameter(
                    f"a KEY and a VALUE are two arguments: {flag} {field} {meant or 'VALUE'}",
                    ctx,
                    parameter,
                )
            if re.match("--[a-z]", value):
                raise click.BadParameter(
                    f"{key!r} has no VALUE before {value!r}: {flag} {key} VALUE (as JSON text, "
                    f"if that is the value: '\"{value}\"')",
                    ctx,
                    parameter,
                )
            given[key] = json_or_text(value)
        if "stream" in given:
            raise click.BadParameter("answers are always streamed", ctx, parameter)
        return given

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(*, old_options: dict[str, Any] | None = None, **others: Any) -> None:
            if old_options:
                if is_terminal(sys.stderr):
                    remark(f"{old} is going to mean the output, as it does in batch: say --option")
                others["options"] = {**old_options, **others["options"]}
            command(**others)

        decorated: Callable[..., None] = with_options
        if old is not None:
            decorated = click.option(
                old, "old_options", type=(str, str), multiple=True, callback=as_dict, hidden=True
            )(decorated)
        return click.option(
            "-p",
            "--option",
            "options",
            type=(str, str),
            metavar="KEY VALUE",
            multiple=True,
            callback=as_dict,
            help="Any other field of the request; the value is JSON if it parses as such, as in "
            "-p temperature 0.",
        )(decorated)

    return decorate
