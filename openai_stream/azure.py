"""``AzureClient``: where calls go in Azure, and with which key or token."""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import requests

from .attempts import TapMaker, Trace
from .base_client import MOST_EVENT_BYTES, BaseClient, Key, from_environment, keys_kept
from .errors import ConfigurationError
from .publishing import publish
from .redaction import forgets_what_it_is_made_of, shown
from .request import Headers, check_key, check_url, with_query
from .stream.crowds import Crowds
from .timeouts import Timeout, timeout_of
from .transport import Session

__all__ = ["AzureClient"]

_API_VERSION = "2024-10-21"  # the newest that Azure calls generally available


@forgets_what_it_is_made_of
@attrs.define(eq=False)
class AzureClient(BaseClient):
    """Where calls go in Azure: ``model`` is the name of the deployment.

    The URL is ``{endpoint}/openai/deployments/{model}/chat/completions?api-version=…``. Everything
    else is as with :class:`Client`. Source: Azure OpenAI REST API reference, "Authentication".

    :param api_key: sent as ``api-key``; default: ``AZURE_OPENAI_API_KEY``. Or a function, as with
        :class:`Client`.
    :param endpoint: ``https://….openai.azure.com``; default: ``AZURE_OPENAI_ENDPOINT`` or
        ``AZURE_OPENAI_API_ENDPOINT``.
    :param api_version: default: ``OPENAI_API_VERSION``.
    :param azure_ad_token: a Microsoft Entra ID token, sent as ``Authorization``, instead of a key;
        or a function that returns one, asked before each attempt.
    :raises ConfigurationError: no endpoint, or neither key nor token.

    .. versionadded:: 0.1
    """

    _provider = "azure"
    _lacks = ("/responses",)

    api_key: Key = attrs.field(default=None, repr=False)
    endpoint: str | None = attrs.field(default=None, repr=lambda url: repr(shown(url)))
    api_version: str | None = None
    azure_ad_token: Key = attrs.field(default=None, repr=False)
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = MOST_EVENT_BYTES
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    readers: int | None = None
    _own_sessions: dict[int, Session] = attrs.field(factory=dict, init=False, repr=False)
    _crowds: Crowds = attrs.field(factory=Crowds, init=False, repr=False)
    _tap_maker: TapMaker | None = attrs.field(default=None, init=False, repr=False)
    _asked_for: deque[str] = attrs.field(factory=keys_kept, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key is None and self.azure_ad_token is None:
            self.api_key = from_environment("AZURE_OPENAI_API_KEY")
        if self.endpoint is None:
            self.endpoint = from_environment("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_ENDPOINT")
        if self.api_version is None:
            self.api_version = from_environment("OPENAI_API_VERSION") or _API_VERSION
        self._check()

    def _check(self) -> None:
        if self.endpoint is None:
            raise ConfigurationError(
                "no endpoint: set the environment variable AZURE_OPENAI_ENDPOINT, or pass "
                "endpoint='https://….openai.azure.com'"
            )
        check_url("endpoint", self.endpoint)
        if not self._has_key():
            raise ConfigurationError(
                "no API key: set the environment variable AZURE_OPENAI_API_KEY, or pass api_key=… "
                "or azure_ad_token=…"
            )
        if self.api_key is not None and not callable(self.api_key):
            check_key("api_key", self.api_key)
        if isinstance(self.azure_ad_token, str):
            check_key("azure_ad_token", self.azure_ad_token)
        elif self.azure_ad_token is not None and not callable(self.azure_ad_token):
            raise ConfigurationError(
                "azure_ad_token must be a string or a function that returns one"
            )
        super()._check()

    def _url(self, endpoint: str, body: Any) -> str:
        assert self.endpoint is not None
        model = body.get("model") if isinstance(body, dict) else None
        if not isinstance(model, str) or not model:
            raise ConfigurationError(
                f"model must be the name of the Azure deployment, not {model!r}"
            )
        base = urlsplit(self.endpoint)
        path = f"{base.path.rstrip('/')}/openai/deployments/{quote(model, safe='')}{endpoint}"
        return with_query(urlunsplit(base._replace(path=path)), {"api-version": self.api_version})

    def _has_key(self) -> bool:
        return bool(self.api_key) or self.azure_ad_token is not None

    def _authorization(self) -> tuple[str, str] | None:
        for name, header, scheme in (
            ("azure_ad_token", "Authorization", "Bearer "),
            ("api_key", "api-key", ""),
        ):
            key = getattr(self, name)
            if callable(key):
                key = self._asked(name, key)
                if key is None:
                    raise ConfigurationError(f"no key: the function given as {name} returned none")
            if key:
                return header, scheme + key
        return None

    def _keys(self) -> list[str | None]:
        token = self.azure_ad_token if isinstance(self.azure_ad_token, str) else None
        return [*super()._keys(), token]


publish(globals(), "openai_stream")
