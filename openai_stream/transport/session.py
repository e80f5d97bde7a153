"""A ``requests`` session whose connections obey the call that they are used in."""

from __future__ import annotations

import http.cookiejar
from typing import Any

import requests
import requests.adapters

from .connection import POOLS
from .sockets import socket_options

__all__ = ["Session", "proxy_of"]

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

    def close(self) -> None:
        # ``clear`` leaves connections open for as long as a response holds on to their pool.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it does not iterate by itself
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


class Session(requests.Session):
    """A ``requests`` session whose connections obey the call that they are used in.

    It takes no cookies: one client serves many users, and what a server gave for one of them must
    not go along with the next one's call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(max_retries=0, pool_maxsize=_POOL)
        self.mount("https://", adapter)
        self.mount("http://", adapter)


def proxy_of(session: requests.Session, url: str) -> str | None:
    """The URL of the proxy that the session uses for ``url``; a password may be in it."""
    settings = session.merge_environment_settings(url, {}, True, None, None)
    proxy: str | None = requests.utils.select_proxy(url, settings["proxies"])
    return proxy
