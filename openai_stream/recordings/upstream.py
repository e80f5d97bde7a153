"""A server behind another one: requests are passed on to it, and its bytes passed back, recorded.

The bytes of an answer are not parsed and made anew: they are passed back as they were read from the
socket, status line and chunk sizes included. So whoever asks cannot tell the difference, and an
error, a page of HTML or an answer that breaks off is passed on as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests

from openai_stream._version import VERSION
from openai_stream.errors import OpenAIStreamError
from openai_stream.redaction import Mask, Secrets, hiding_in_logs, of_proxies, shown
from openai_stream.timeouts import Timeout
from openai_stream.transport import (
    LEAKING,
    Aborted,
    Body,
    End,
    Expired,
    Interrupted,
    NetworkCall,
    Session,
    Tap,
    cause_of,
    leave_alone,
    proxies_of,
    proxy_of,
    send,
)

from .format import first_line
from .hiding import HidingTap
from .reading import RecordedExchange, exchange_of
from .recorder import Recorder

__all__ = ["Passing", "Upstream"]

#: Of one connection only (RFC 9110, section 7.6.1), or made anew: not passed on.
_OF_THE_CONNECTION = frozenset(
    (
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
#: Whoever asks knows how long to wait for an answer, and hangs up; only connecting has an end.
_LIMITS = Timeout(idle=None, gap=None)

#: Makes what looks at the bytes of an exchange.
MakeTap = Callable[[requests.PreparedRequest, Mask], Tap]


class Upstream:
    """The server that requests are passed on to.

    May be used from many threads at once.

    :param base_url: of its API; what was asked for below ``/v1`` is asked for below this.
    :param recorder: keeps what it answers.
    :param keep: called with each answer that is whole and has a good status, once it is recorded;
        others are not recorded then. ``None``: everything is recorded, as it comes.
    """

    def __init__(
        self,
        base_url: str,
        recorder: Recorder,
        keep: Callable[[RecordedExchange], object] | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._recorder = recorder
        self._keep = keep
        self._session = Session()
        self._lock = threading.Lock()
        #: How many requests were answered, whatever with.
        self.answers = 0

    def __repr__(self) -> str:
        return f"<Upstream {shown(self._base)}>"

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Passing:
        """What passes one request on; nothing is sent yet.

        :param target: the path and the query.
        :param headers: as they came; those of the connection are left out.
        """
        path, mark, query = target.partition("?")
        if path == "/v1" or path.startswith("/v1/"):
            path = path[len("/v1") :]
        named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
        passed: dict[str, str | None] = {
            name: value
            for name, value in headers.items()
            if name.lower() not in _OF_THE_CONNECTION | named
        }
        # A key is not found in compressed bytes, and compression holds events back.
        passed["accept-encoding"] = "identity"
        passed.setdefault("user-agent", f"openai-stream/{VERSION}")  # or urllib3 puts in its own
        for name in self._session.headers:  # what requests would add
            passed.setdefault(name.lower(), None)
        base, _, more = self._base.partition("?")
        query = "&".join(filter(None, (more, query)))
        made = requests.Request(
            method,
            f"{base.rstrip('/')}{path}{'?' if query or mark else ''}{query}",
            headers=passed,
            data=body or None,
            auth=leave_alone,
        )
        held = None if self._keep is None else _Held(self._recorder, self._keep)
        tap = self._recorder.tap if held is None else held.tap
        return Passing(self._session, made, tap, held, self._count)

    def _count(self) -> None:
        with self._lock:
            self.answers += 1

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()


class Passing:
    """One request that is passed on. :meth:`run` has a thread of its own; any may :meth:`abort`.

    :param held: what decides, at the end, whether it is recorded.
    :param note: called at the end if there was an answer.
    """

    def __init__(
        self,
        session: Session,
        made: requests.Request,
        make_tap: MakeTap,
        held: _Held | None,
        note: Callable[[], object],
    ) -> None:
        self._session = session
        self._made = made
        self._make_tap = make_tap
        self._held = held
        self._note = note
        self._call = NetworkCall(_LIMITS, streaming=True)
        #: How the answer ended on the wire, once it has.
        self.end: End | None = None
        #: Why there is no answer, or not the whole of it; without secrets.
        self.failure: str | None = None
        #: Some of the answer has come.
        self.answered = False

    def abort(self) -> None:
        """Hang up on the server: whoever asked has gone."""
        with self._call.lock:
            self._call.abort()

    def run(self, give: Callable[[bytes], object]) -> None:
        """Pass the request on, and its answer back. Never raises.

        :param give: called with all bytes of the answer, as they come; an ``OSError`` that it
            raises says that nobody wants more.
        """
        call, url = self._call, self._made.url
        secrets = Secrets(tuple, lambda: of_proxies(proxies_of(self._session)))
        try:
            prepared = self._session.prepare_request(self._made)
            secrets.add_request(prepared.headers, prepared.url)
            tap = _PassingTap(self, self._make_tap(prepared, secrets.mask()), give)
            call.begin()
            call.tap = tap
            with hiding_in_logs(secrets):
                response = send(self._session, self._made, prepared, call)
            # It is passed back as it is: nobody here looks into what is compressed.
            response.headers.pop("content-encoding", None)
            body = Body(response, call)
            try:
                while body.read():
                    pass
                body.finish()
            finally:
                body.close()
        except (Aborted, Interrupted):
            self.failure = "it was stopped"
        except Expired:
            self.failure = call.expiry()
        except OpenAIStreamError as error:
            self.failure = secrets(str(error))
        except LEAKING as error:
            said = call.expiry() if call.expired else cause_of(error, proxy_of(self._session, url))
            self.failure = said if isinstance(said, str) else secrets(said.said)
        finally:
            call.end_tap()
        if self.answered:
            self._note()
        if self.failure is not None:
            self.failure = f"{secrets(shown(url))}: {self.failure}"
        elif self._held is not None:
            self._held.settle()


class _PassingTap:
    """Gives bytes back as they come, and to a recording."""

    def __init__(self, passing: Passing, tap: Tap, give: Callable[[bytes], object]) -> None:
        self._passing = passing
        self._tap = tap
        self._give = give

    def sent(self) -> None:
        self._tap.sent()

    def received(self, data: bytes) -> None:
        self._tap.received(data)
        self._passing.answered = True
        try:
            self._give(data)
        except OSError:
            self._passing.abort()

    def ended(self, how: End) -> None:
        self._tap.ended(how)
        self._passing.end = how


class _Held:
    """The lines of an exchange, until it is known whether it is worth keeping."""

    def __init__(self, recorder: Recorder, keep: Callable[[RecordedExchange], object]) -> None:
        self._recorder = recorder
        self._keep = keep
        self._lines: list[Mapping[str, Any]] = []

    def tap(self, request: requests.PreparedRequest, mask: Mask) -> HidingTap:
        return HidingTap(self._begin, lambda line, _: self._lines.append(line), request, mask)

    def _begin(self, request: Mapping[str, Any]) -> int:
        self._lines.append(first_line(1, request))
        return 1

    def settle(self) -> None:
        """It is over, and whole as HTTP goes: keep it if its status is good."""
        exchange = exchange_of(self._lines)
        if exchange.status in range(200, 300):
            self._recorder.add(exchange)
            self._keep(exchange)
