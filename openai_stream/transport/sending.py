"""An attempt's request, sent through a session of ours or of the user's."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.util import parse_url

from openai_stream.errors import ConfigurationError
from openai_stream.redaction import has_unquoted_user, shown_proxy

from .body import settle
from .call import NetworkCall
from .current import sending
from .given import GivenWait
from .session import Session

__all__ = ["send"]


def send(
    session: requests.Session,
    made: requests.Request,
    prepared: requests.PreparedRequest,
    call: NetworkCall,
) -> requests.Response:
    """Send an attempt's request and return when the headers are there.

    :param session: a :class:`Session`; another one is timed and stopped as far as it allows.
    :param made: the request.
    :param prepared: the same, prepared by the session.
    :raises Aborted: it was stopped.
    :raises requests.RequestException: whatever ``requests`` raises; where a deadline is why,
        :attr:`NetworkCall.expired` says so. Others leak through ``requests`` too: ``urllib3``'s,
        ``http.client``'s, ``OSError`` and ``ValueError``; and whatever a given session raises.
    """
    settings: Any = session.merge_environment_settings(made.url, {}, True, None, None)
    proxies = settings["proxies"]
    proxy = requests.utils.select_proxy(made.url, proxies) if proxies else None
    if proxy and (why := _unusable(proxy)):
        raise requests.exceptions.InvalidProxyURL(why)
    is_ours = isinstance(session, Session) and not (proxy or "").lower().startswith("socks")
    with sending(call):
        return _timed(session, made, prepared, call, settings, is_ours)


def _unusable(proxy: str) -> str | None:
    """Why this cannot be a proxy's URL: ``requests`` would trip over it with a ``TypeError``, quote
    a part of the password, or look for a host that is the user's name.
    """
    try:
        urlsplit(proxy)  # refuses what parse_url takes, a bracket
        host, is_read = parse_url(proxy).host, not has_unquoted_user(proxy)
    except ValueError:
        host, is_read = None, False
    has_scheme = "://" in proxy
    if has_scheme and not is_read:
        return (
            f"the proxy's URL {shown_proxy(proxy)!r} cannot be read: its port is a number, and "
            "what is special in its user name and password is to be quoted, as "
            "urllib.parse.quote(password, safe='') does"
        )
    if host:  # requests puts a scheme before it, if there is none
        return None
    if has_scheme:
        return f"the proxy's URL {shown_proxy(proxy)!r} has no host"
    return f"the proxy's URL has no scheme: write {shown_proxy(f'http://{proxy}')}"


def _timed(
    session: requests.Session,
    made: requests.Request,
    prepared: requests.PreparedRequest,
    call: NetworkCall,
    settings: dict[str, Any],
    is_ours: bool,
) -> requests.Response:
    connect, wait = call.given_limits()
    seen = _Seen()
    start = monotonic()
    try:
        # What is not ours goes by these two numbers; each wait of ours is set by the call.
        with contextlib.nullcontext() if is_ours else _given(call, seen):
            response = _send(session, made, prepared, seen, settings, timeout=(connect, wait))
    except requests.Timeout as error:
        seen.close()
        took = monotonic() - start
        # A handshake that takes too long is a "read timeout" to requests.
        connecting = isinstance(error, requests.ConnectTimeout) or took < wait
        # One that comes before its time is another's: a mock's, say.
        if call.expired is None and took >= (connect if connecting else wait):
            call.given_timed_out(connecting)
        raise
    except requests.HTTPError:
        # A hook of the session's raises for each bad status: what the server said is not lost.
        if seen.response is None or seen.response.status_code < 400:
            seen.close()
            raise
        response = seen.response
    except requests.exceptions.RetryError as error:
        seen.close()
        if (status := re.search(_TOO_MANY, str(error))) is None:
            raise
        response = _bare_response(int(status[1]), prepared)
    except BaseException:
        seen.close()
        raise
    if not hasattr(response, "raw"):  # a session that does not block gives a Future
        seen.close()
        raise ConfigurationError(
            f"the session gives a {type(response).__name__} and no response: it needs to be one "
            "that blocks"
        )
    seen.leave(response)
    seen.show_target(response)
    return response


def _given(call: NetworkCall, seen: _Seen) -> GivenWait:
    """What bounds the wait for the headers where the connection is not ours."""
    wait = GivenWait(call)
    seen.passed = wait.passed
    return wait


#: A ``Retry`` of urllib3's that a session's adapter has was used up: it drops the answers.
_TOO_MANY = r"too many (\d{3}) error responses"


def _bare_response(status: int, prepared: requests.PreparedRequest) -> requests.Response:
    """A response of which nothing but its status is left."""
    response = requests.Response()
    response.status_code = status
    response.reason = http.client.responses.get(status, "")
    response.request = prepared
    response.url = prepared.url or ""
    settle(response, b"")
    return response


def _send(
    session: requests.Session,
    made: requests.Request,
    prepared: requests.PreparedRequest,
    seen: _Seen,
    settings: dict[str, Any],
    timeout: tuple[float, float],
) -> requests.Response:
    how: dict[str, Any] = {"allow_redirects": False, "timeout": timeout}
    if getattr(session.request, "__func__", None) is requests.Session.request:
        prepared.hooks["response"] = seen.around(prepared.hooks["response"])
        return session.send(prepared, **how, **settings)
    # It puts something of its own into each request there: a token (google-auth, OAuth 2), a time.
    return session.request(
        made.method,
        made.url,
        headers=made.headers.copy(),  # which it may add to
        data=made.data,
        auth=made.auth,
        hooks={"response": seen.around(session.hooks.get("response", []))},
        stream=True,
        **how,
    )


def _reads(raw: Any, other: Any) -> bool:
    """Whether one is the other, or has it in it; a counter of bytes, say."""
    for _ in range(5):
        if raw is other:
            return True
        inside = list(getattr(raw, "__dict__", {}).values())
        if any(one is other for one in inside):
            return True
        raw = next((one for one in inside if hasattr(one, "read")), None)
    return False


class _Seen:
    """What the hooks around those of a session's user see: a response before them and behind them.

    Before: a hook that raises would leave a response open that nobody else has. Behind: a redirect
    is kept from ``requests``, which would read its body to the end, although it is not to follow
    it; and so for ever, if that has none.
    """

    response: requests.Response | None = None
    #: Called with each response, before anybody else sees it.
    passed: Callable[[], None] | None = None
    _target: str | None = None

    def around(self, hooks: Any) -> list[Any]:
        return [self._keep, *([hooks] if callable(hooks) else hooks), self._hide_target]

    def _keep(self, response: requests.Response, **_: Any) -> None:
        if self.passed is not None:
            self.passed()
        self.leave(response)  # a session may ask again with a new token, and forget the first
        self.response = response

    def _hide_target(self, response: requests.Response, **_: Any) -> None:
        if 300 <= response.status_code < 400:
            self._target = response.headers.pop("location", None)

    def show_target(self, response: requests.Response) -> None:
        if self._target is not None:
            response.headers["location"] = self._target

    def leave(self, response: requests.Response) -> None:
        """Somebody has this one. What was seen is closed if it was another: a hook may have put it
        in its place. Who puts something of his own around what was seen, as ``requests_cache``
        does, reads from the same ``raw``, or from something around that.
        """
        seen, self.response = self.response, None  # its request leads back: no circle is left
        if seen is not None and not _reads(response.raw, seen.raw):
            seen.close()

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None
