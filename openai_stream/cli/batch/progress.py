"""How far a batch is: a bar on a terminal, lines elsewhere, and at the end what came of it."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from openai_stream.cli.characters import harmless
from openai_stream.cli.failures import told
from openai_stream.cli.notes import console
from openai_stream.server_errors import clip

from .reasons import Reasons

__all__ = ["Meter"]

_EVERY = 10.0  # seconds between two lines
_LATER, _EVERY_LATER = 60.0, 60.0  # after so many seconds, and then


class Meter:
    """Counts answers, failures and tokens, and shows the figures on standard error.

    :param total: how many prompts there are, if that is known.
    :param where: failures are written.
    :param every: seconds between two lines about it if standard error is not a terminal; 0 for
        none, ``None`` for what suits.
    """

    def __init__(self, total: int | None, where: str, every: float | None = None) -> None:
        self._console = console()
        self._where = where
        self._every = every
        self.total = total
        #: How many had an answer before.
        self.present = 0
        self.answers = 0
        self.failures = 0
        self.reasons = Reasons()
        #: How many wait to be asked again, and after which fault.
        self.waiting = 0
        self.fault: Exception | None = None
        self.tokens = 0
        #: Until when a rate limit holds everything up, by :func:`time.monotonic`.
        self.opens_at = 0.0
        self._begun = time.monotonic()
        self._progress: Progress | None = None
        self._told = self._begun

    def __enter__(self) -> Meter:
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=None, table_column=Column(ratio=1)),
                _Figures(self),
                console=self._console,
                expand=True,
            )
            self._task = self._progress.add_task("", total=self.total)
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        present = f" ({self.present} were there already)" if self.present else ""
        self._console.print(
            Text(
                f"{_count(self.answers, 'answer')}{present}, {_count(self.failures, 'failure')}, "
                f"{self.seconds:.1f} s, {self.rate:.1f}/s, {self.tokens_rate:.0f} tokens/s"
            )
        )
        for line in self.reasons.lines(self._where):
            self._console.print(Text(line))

    def add_tokens(self, tokens: int) -> None:
        """Count tokens that came."""
        self.tokens += tokens

    def update(self) -> None:
        """Show what has changed."""
        if self._progress is not None:
            self._progress.update(self._task, completed=self.done)
        elif self.due == 0.0:
            self._told = time.monotonic()
            self._console.print(Text(self.figures()))

    @property
    def due(self) -> float | None:
        """Seconds until there is something to show; ``None`` for never."""
        every = self._every
        if every is None:
            every = _EVERY if self.seconds < _LATER else _EVERY_LATER
        if self._progress is not None or not every:
            return None
        return max(0.0, self._told + every - time.monotonic())

    def note(self, text: str) -> None:
        """Say something besides."""
        self._console.print(Text(f"[{harmless(text)}]", style="dim"))

    def figures(self) -> str:
        """How far it is, in a line."""
        total = "" if self.total is None else f"/{self.total}"
        parts = [f"{self.done}{total}", f"{self.rate:.1f}/s"]
        pause = self.opens_at - time.monotonic()
        if pause > 0:
            parts.append(f"rate limited for {_clock(pause)}")
        elif self.seconds_left is not None:
            parts.append(f"{_clock(self.seconds_left)} left")
        if self.failures:
            parts.append(_count(self.failures, "failure"))
        parts.append(f"{self.tokens_rate:.0f} tokens/s")
        if self.waiting and self.fault is not None:
            parts.append(f"{self.waiting} to be asked again ({clip(told(self.fault), 80)})")
        return ", ".join(parts)

    @property
    def done(self) -> int:
        """Prompts that nothing more is done about."""
        return self.present + self.answers + self.failures

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    @property
    def rate(self) -> float:
        """Answers and failures a second."""
        return (self.answers + self.failures) / max(self.seconds, 1e-9)

    @property
    def tokens_rate(self) -> float:
        """Tokens of answers a second."""
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; ``None`` where that says nothing."""
        return (self.total - self.done) / self.rate if self.total and self.rate else None


class _Figures(ProgressColumn):
    """The figures, anew whenever the bar is drawn."""

    def __init__(self, meter: Meter) -> None:
        # A window that is too narrow cuts the end off.
        super().__init__(Column(no_wrap=True))
        self._meter = meter

    def render(self, task: Task) -> Text:
        return Text(self._meter.figures())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
