"""A ``requests`` session whose connections obey the call that they are used in."""

from __future__ import annotations

import os
import urllib.request
from typing import Any

import requests
import requests.adapters
import requests.cookies
from urllib3.exceptions import ClosedPoolError

from .connection import POOLS
from .sockets import socket_options

__all__ = ["Session", "leave_alone", "proxies_of", "proxy_of"]

_POOL = 10  # hosts, and idle connections kept to each; more may be open at once


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter whose connections are ours, through a proxy too (but not through SOCKS)."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=socket_options(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, socket_options=socket_options(), **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # It goes by the URL: an HTTPS proxy before a plain server may have any certificate then.
        tls = conn.scheme == "https"
        super().cert_verify(conn, "https:" if tls else url, verify, cert)  # type: ignore[no-untyped-call]

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        # It would look for the one that is for this URL.
        return super().request_url(request, proxies) if proxies else request.path_url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return super().send(request, *args, **kwargs)
            except requests.ConnectionError as error:
                # Another thread has closed the pool after this one had looked it up, and before it
                # took a connection: nothing was sent, and the next look finds a new one.
                if not (error.args and isinstance(error.args[0], ClosedPoolError)):
                    raise

    def close(self) -> None:
        # ``clear`` leaves connections open for as long as a response holds on to their pool.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it does not iterate by itself
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


class _NoCookies(requests.cookies.RequestsCookieJar):
    """A jar that is always empty."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Nothing is taken out of a response."""

    def set_cookie(self, cookie: Any, *args: Any, **kwargs: Any) -> None:
        """Nor anything put in by hand."""


class Session(requests.Session):
    """A ``requests`` session whose connections obey the call that they are used in.

    It takes no cookies: one client serves many users, and what a server gave for one of them must
    not go along with the next one's call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies = _NoCookies()
        adapter = _Adapter(max_retries=0, pool_maxsize=_POOL)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As ``requests`` does, at a third of its cost: but for its headers, the session has
        nothing that could be merged into a request (cookies, parameters, hooks), and each of our
        requests has an ``auth``, which keeps ``~/.netrc`` out.
        """
        theirs = requests.Session.prepare_request
        if getattr(theirs, "__globals__", None) is not vars(requests.sessions):
            return super().prepare_request(request)  # a tracer has put its own around it
        named = {name.lower(): (name, value) for name, value in self.headers.items()}
        for name, value in request.headers.items():
            named[name.lower()] = (name, value)
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers={name: value for name, value in named.values() if value is not None},
            data=request.data,
            auth=request.auth,
            hooks=request.hooks,
        )
        return prepared

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """As ``requests`` does, anew for each request, but at a third of its cost if there is no
        proxy: it would first look through the environment for whether the host goes without one.

        The session has no settings of its own to merge.
        """
        if proxies or urllib.request.getproxies():
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        if verify is None or verify is True:
            bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
            verify = bundle or True
        return {"proxies": {}, "stream": stream, "verify": verify, "cert": cert}


def proxy_of(session: requests.Session, url: str) -> str | None:
    """The URL of the proxy that the session uses for ``url``; a password may be in it."""
    settings = session.merge_environment_settings(url, {}, True, None, None)
    proxy: str | None = requests.utils.select_proxy(url, settings["proxies"])
    return proxy


def proxies_of(session: requests.Session) -> list[str | None]:
    """The URLs of all proxies that the session may use, whatever it asks for."""
    proxies = urllib.request.getproxies()
    proxies.update(session.proxies)
    return [*proxies.values()]


def leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that does nothing, but for keeping ``~/.netrc`` out."""
    return request
