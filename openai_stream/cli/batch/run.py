"""A run over the prompts: which is asked when, and what becomes of it."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import attrs

from openai_stream.cli.characters import harmless
from openai_stream.cli.failures import Failure

from .answers import Answers, rejected
from .gate import Gate
from .progress import Meter
from .prompts import Prompt
from .verdicts import (
    ENOUGH,
    Doubt,
    asked_pause,
    described,
    is_everybodys,
    is_of_the_server,
    is_passing,
    is_rate_limit,
    refusal,
)
from .workers import Answer, Outcome, Work, Workers

__all__ = ["Batch"]

_LONGEST_BACKOFF = 30.0  # seconds
_LOOK_EVERY = 0.05  # seconds between two looks at whether a pipe has brought another prompt
_LONGEST_ASKED = 300.0  # seconds of a pause that the server asks for


@attrs.define(eq=False)
class Batch:
    """A run over the prompts, on one thread.

    :param prompts: those that have no answer yet; ``None`` where the next has not come yet.
    :param answers: where to write.
    :param workers: who asks.
    :param gate: how many at once.
    :param retries: how often a prompt is asked again after faults that may pass.
    :param meter: who is told.
    :param reject: finish reasons of answers that are not taken.
    :param keep_going: even if everything fails alike.
    """

    prompts: Iterator[Prompt | None]
    answers: Answers
    workers: Workers
    gate: Gate
    retries: int
    meter: Meter
    reject: frozenset[str] = frozenset()
    keep_going: bool = False
    _doubt: Doubt = attrs.field(factory=Doubt)
    _running: int = 0
    #: Why no more prompts are taken. What runs is paid for, and so ends first.
    _stopped: Failure | None = None
    #: The next prompt has not come yet.
    _awaits: bool = False
    #: Prompts to be asked again: when, a number that makes the order certain, and which.
    _again: list[tuple[float, int, Work]] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    #: Of the newest failure; see :class:`~.reasons.Reasons`.
    _kind: str = ""

    def run(self) -> None:
        """Ask all prompts.

        :raises openai_stream.OpenAIStreamError: one that every prompt would meet.
        :raises Failure: the prompts are not what they must be, which a pipe shows only at last.
        """
        while True:
            now = time.monotonic()
            exhausted = self._start(now)
            idle = not self._running and not self._again
            if idle and self._in_doubt:
                raise self._all_alike()
            if exhausted and idle:
                if self._stopped is not None:
                    raise self._stopped
                return
            pause = self._pause(now)
            if self._awaits:
                pause = _LOOK_EVERY if pause is None else min(pause, _LOOK_EVERY)
            if (news := self.meter.due) is not None:
                pause = news if pause is None else min(pause, news)
            outcome = self.workers.outcome(pause)
            if outcome is not None:
                self._running -= 1
                self._take(outcome)
            self.meter.waiting = len(self._again)
            self.meter.opens_at = self.gate.held_until
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
            elif self._in_doubt or len(self._again) >= self._most_waiting:
                return False
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
            work.guess = self.gate.budget.begin(work.prompt.tokens)
            self.workers.submit(work)
            self._running += 1
        return False

    @property
    def _most_waiting(self) -> int:
        """How many may wait to be asked again: each keeps its prompt in memory.

        As long as nothing has an answer, the server may not be there at all.
        """
        return 100 + 10 * self.gate.most if self._any_answers else max(ENOUGH, self.gate.most)

    @property
    def _any_answers(self) -> bool:
        return self.meter.answers + self.meter.present > 0

    @property
    def _in_doubt(self) -> bool:
        return bool(self._doubt.count) and not self.keep_going

    def _all_alike(self) -> Failure:
        what = "the last" if self._any_answers else "all"
        return Failure(
            f"{what} {self._doubt.count} prompts failed alike: "
            f"{_ended(self.meter.reasons.of(self._kind))} So this run ends; the next one asks what "
            "has no answer yet, and --keep-going asks all the same"
        )

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
            self._take_answer(work, outcome.answer)
            return
        assert error is not None
        if is_everybodys(error):
            why = _ended(" ".join(described(error)["message"].split()))
            raise Failure(
                f"{harmless(why)} Every other prompt would fail alike, so this run ends; the "
                "next one asks what has no answer yet"
            ) from error
        if is_rate_limit(error):
            self.gate.limited(work.begun, self._running, asked_pause(error))
            self._ask_again(work, 0.0, error)
        elif is_passing(error) and work.faults < self.retries:
            pause = min(_LONGEST_BACKOFF, 0.5 * 2.0 ** min(work.faults, 16))
            asked = min(asked_pause(error) or 0.0, _LONGEST_ASKED)
            pause = max(pause * random.uniform(0.5, 1.0), asked)  # noqa: S311
            work.faults += 1
            self._ask_again(work, time.monotonic() + pause, error)
        else:
            kind = self._fail(work.prompt, described(error), refusal(error))
            self._doubt.failed(kind, is_of_the_server(error), self._any_answers)
            self._kind = kind

    def _take_answer(self, work: Work, answer: Answer) -> None:
        self.gate.answered()
        if answer.tokens is not None:
            self.gate.budget.spent(work.guess, answer.tokens.prompt, answer.tokens.answer)
        reason = rejected(answer.response["body"], self.reject)
        if reason is None:
            self.answers.write(work.prompt, answer.response, None)
            self.meter.answers += 1
            self._doubt.answered()
        elif work.faults < self.retries:
            work.faults += 1
            self._ask_again(work, 0.0, _Rejected(reason))
        else:
            error = {"type": "RejectedAnswer", "code": reason, "message": str(_Rejected(reason))}
            self._kind = self._fail(work.prompt, error, answer.response)
            self._doubt.failed(self._kind, False, self._any_answers)

    def _ask_again(self, work: Work, due: float, error: Exception) -> None:
        self.meter.fault = error
        heapq.heappush(self._again, (due, next(self._numbers), work))

    def _fail(
        self, prompt: Prompt, error: dict[str, Any], response: dict[str, Any] | None = None
    ) -> str:
        self.answers.write(prompt, response, error)
        self.meter.failures += 1
        return self.meter.reasons.add(error, response)


class _Rejected(Exception):
    """The answer is not taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the answer ended with the finish reason {reason!r}, which --reject does not take"
        )


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
