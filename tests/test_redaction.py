"""What a secret is by its name, and in which forms its text is found again; and what is left."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from openai_stream.errors import OpenAIStreamError
from openai_stream.redaction import (
    AnswerWithout,
    Mask,
    Secrets,
    cleaned,
    forgets,
    hidden_target,
    hiding_in_logs,
    is_harmless,
    is_secret,
    of_headers,
    of_proxies,
    of_url,
    purge,
    shown,
)

KEY = "sk-Proj+4/of-the=tests"
MASK = Mask([KEY])

# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "api-key", "x-api-key", "apikey", "ApiKey",
        "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "X-RapidAPI-Key", "Helicone-Auth",
        "X-Auth", "X-Access-Key", "X-Session-Id", "session_id", "x-portkey-virtual-key",
        "cf-aig-authorization", "CF-Access-Client-Secret", "X-Amz-Security-Token",
        "X-Amz-Signature", "X-Amz-Credential", "X-Vault-Token", "PRIVATE-TOKEN", "X-CSRFToken",
        "X-Hub-Signature-256", "Cookie", "Set-Cookie", "JSESSIONID", "PHPSESSID", "sid", "X-JWT",
        "X-JWT-Assertion-Token", "X-Api-Key-2", "xApiKey", "X-Secret", "X-Password",
        "x_functions_key", "access-token-v2", "X-Credentials", "sig",
    ],
)  # fmt: skip
def test_is_secret_by_its_name(name: str) -> None:
    assert is_secret(name)
    assert is_secret(name.upper())
    assert is_secret(name.lower())
    assert not is_harmless(name)


@pytest.mark.parametrize(
    "name",
    [
        "Content-Type", "Content-Length", "Transfer-Encoding", "Accept", "User-Agent", "Host",
        "X-Request-Id", "x-ms-client-request-id", "traceparent", "Idempotency-Key", "Date",
        "Server",
        "OpenAI-Beta", "anthropic-version", "api-version", "X-Stainless-OS", "x-portkey-provider",
        "HTTP-Referer", "X-Title", "Retry-After", "model",
    ],
)  # fmt: skip
def test_is_harmless_by_its_name(name: str) -> None:
    assert is_harmless(name)
    assert not is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "X-RateLimit-Limit-Tokens", "x-ratelimit-remaining-tokens", "X-Token-Count", "X-Cookies",
        "openai-processing-ms", "X-Design", "X-Outside", "max_tokens", "stop", "X-Author",
        "X-Passage",
        "WWW-Authenticate", "cf-cache-status", "X-Error-Code",
    ],
)  # fmt: skip
def test_is_not_secret_though_it_speaks_of_keys_or_sounds_like_it(name: str) -> None:
    assert not is_secret(name)


def test_names_the_account_to_strangers_alone() -> None:
    for name in ("OpenAI-Organization", "anthropic-organization-id", "openai-project"):
        assert is_secret(name, identifying=True)
        assert not is_secret(name)


@pytest.mark.parametrize(
    ("target", "hidden"),
    [
        ("/v1/x?api-key=abc&a=b", "/v1/x?api-key=***&a=b"),
        ("/v1/x?code=1&model=gpt-4o-mini-2024", "/v1/x?code=*&model=gpt-4o-mini-2024"),
        ("/x?team=a-long-one&api-version=2024-10", "/x?team=**********&api-version=2024-10"),
        ('"POST /v1?sig=a%2Fb HTTP/1.1" 200', '"POST /v1?sig=***** HTTP/1.1" 200'),
        ("/v1/x?", "/v1/x?"),
    ],
)  # fmt: skip
def test_hides_parameters_by_the_same_rule(target: str, hidden: str) -> None:
    assert hidden_target(target) == hidden


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://h/v1?api-key=k#f", "https://h/v1"),
        ("https://me:pass@h:8080/v1", "https://h:8080/v1"),
        ("https://me:pa/ss@h/v1", "https://h/v1"),
        ("https://me:pa?ss@h/v1", "https://h/v1"),
        ("https://me:p@ss@h/v1", "https://h/v1"),
        ("https://h/run/@cf/meta/llama", "https://h/run/@cf/meta/llama"),
        ("http://[::1]:8080/v1/@x", "http://[::1]:8080/v1/@x"),
        ("localhost:8080/v1", "localhost:8080/v1"),
        ("/v1/elsewhere?k=1", "/v1/elsewhere"),
        ("", ""),
        (None, ""),
    ],
)
def test_shows_of_an_address_what_may_be_seen(url: str | None, seen: str) -> None:
    assert shown(url) == seen


# Texts ---------------------------------------------------------------------------------------

FORMS = {
    "itself": KEY,
    "capitals": KEY.upper(),
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded twice": quote(quote(KEY, safe=""), safe=""),
    "all percent-encoded": "".join(f"%{ord(one):02x}" for one in KEY),
    "JSON, as PHP": KEY.replace("/", "\\/"),
    "JSON, as .NET": KEY.replace("+", "\\u002B").replace("=", "\\u003D"),
    "JSON in JSON": json.dumps(json.dumps(KEY.replace("-", "\\u002d"))),
    "Python's bytes": "".join(f"\\x{ord(one):02x}" for one in KEY),
    "HTML": KEY.replace("/", "&#x2F;").replace("+", "&#43;").replace("=", "&#061;"),
    "HTML in HTML": KEY.replace("/", "&amp;#x2F;"),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, for URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "Basic": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "Basic of a longer user": base64.b64encode(f"user2:{KEY}!".encode()).decode(),
    "Basic, once more": base64.b64encode(f"abc:{KEY}".encode()).decode(),
    "a piece": KEY[3:20],
}


@pytest.mark.parametrize("form", FORMS)
def test_finds_a_secret_in_every_form(form: str) -> None:
    text = f"the key {FORMS[form]} is wrong, {FORMS[form]}!"
    hidden = MASK.hide(text)
    assert hidden.count("***") == 2
    assert hidden.startswith("the key ")
    assert hidden.endswith("!")
    assert "Proj" not in hidden
    assert "of-the" not in hidden
    assert MASK.finds(text)
    assert MASK.finds(text.encode())


@pytest.mark.parametrize("form", [form for form in FORMS if form != "a piece"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_hides_in_bytes_that_come_in_pieces(form: str, size: int) -> None:
    """As many stars, so that all lengths still hold."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    body = f'data: {{"said": "{FORMS[form]}"}}\n\n% \\ & {FORMS[form]} and \\u00e9 more'.encode()
    answer = AnswerWithout(MASK)
    data = head + body
    got = b"".join(answer.take(data[at : at + size]) for at in range(0, len(data), size))
    got += answer.rest()
    assert got == head + MASK.hide_bytes(body)
    assert len(got) == len(data)
    assert got.count(b"***") > 2
    assert got.endswith(b" and \\u00e9 more")


@given(st.text("skProj-+4/=of%2\\u0d&#; ", max_size=60), st.integers(1, 9))
def test_hides_the_same_in_pieces_of_any_size(text: str, size: int) -> None:
    body = f"{KEY[:5]}{text}{KEY}{text}".encode()
    answer = AnswerWithout(MASK)
    got = answer.take(b"HTTP/1.1 200 OK\r\n\r\n")
    got += b"".join(answer.take(body[at : at + size]) for at in range(0, len(body), size))
    got += answer.rest()
    assert len(got) == len(body) + 19
    assert KEY.encode() not in got


@given(st.text(max_size=80))
def test_leaves_all_other_text_as_it_is(text: str) -> None:
    assert MASK.hide(text) == text or KEY.lower() in text.lower()
    assert MASK.hide_bytes(text.encode("utf-8", "surrogatepass")) == text.encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.parametrize("key", ["x", "none", "ollama", "test"])
def test_hides_short_keys_as_words_alone(key: str) -> None:
    mask = Mask([key])
    assert mask.hide(f"key {key}, but not {key}y nor y{key}") == (
        f"key ***, but not {key}y nor y{key}"
    )
    assert mask.hide(f"{key}-request-id", words=False) == f"{key}-request-id"
    assert not mask.finds(key)


@pytest.mark.parametrize("key", ["1", "a", "dead", "200", "null", "true", ""])
def test_takes_numbers_literals_and_sizes_of_chunks_for_what_they_are(key: str) -> None:
    text = f'{{"a": {key or "null"}}} {key} {key}\r\n'
    assert Mask([key]).hide(text) == text
    assert Mask([key]).hide_bytes(text.encode()) == text.encode()


def test_hides_keys_with_characters_beyond_ascii() -> None:
    key = "clé-très-secrète"
    mask = Mask([key])
    for text in (key, json.dumps(key), quote(key), key.encode().decode(errors="replace")):
        assert mask.hide(f"bad {text}").strip('"') in ("bad ***", 'bad "***')
    sent = key.encode("latin-1")
    assert mask.hide(sent.decode(errors="replace")) == "***"
    assert mask.hide_bytes(sent) == b"*" * len(sent)


def test_finds_in_headers_what_is_secret() -> None:
    headers = {
        "Authorization": "Bearer one-1",
        "Proxy-Authorization": f"Basic {base64.b64encode(b'me:pass-2').decode()}",
        "Cookie": "theme=dark; login=cookie-number-3",
        "X-Gateway": "a-value-4",
        "X-Gateway-Mode": "a-value-5",
        "X-Phrase": "more words than one",
        "X-Short": "short",
        "api-key": b"six",
        "Content-Type": "application/json",
        "X-None": None,
    }
    found = set(of_headers(headers))
    assert found >= {
        "one-1",
        "pass-2",
        "cookie-number-3",
        "a-value-4",
        "more words than one",
        "six",
    }
    assert not found & {"dark", "a-value-5", "short", "application/json", "Bearer one-1", "Bearer"}


def test_finds_in_addresses_what_is_secret() -> None:
    url = "http://h/v1?api-key=a%2Fb&user=somebody&api-version=2024-10-21&n=1&empty&code="
    assert set(of_url(url)) == {"a/b", "a%2Fb", "somebody"}
    assert set(of_proxies(["http://me:a%2Fb@h:1", "http://only@h", "http://h:1", None])) >= {
        "a/b", "a%2Fb", "only",
    }  # fmt: skip


def test_asks_for_keys_when_something_is_to_be_hidden() -> None:
    keys = ["the-first-key"]
    secrets = Secrets(lambda: keys)
    assert secrets("the-first-key the-second-key") == "*** the-second-key"
    keys[:] = ["the-second-key"]
    assert secrets("the-first-key the-second-key") == "the-first-key ***"
    secrets.add_request({"X-Key": "the-third-key"}, "http://h/?key=the-fourth-key")
    assert secrets("the-third-key the-fourth-key") == "*** ***"
    assert repr(secrets) == "<Secrets>"


def test_cleans_names_of_fields_of_long_keys_alone() -> None:
    value = {"code": ["code", {KEY: KEY}]}
    secrets = Secrets(lambda: [KEY, "code"])
    assert cleaned(value, secrets) == {"code": ["***", {"***": "***"}]}


# Errors --------------------------------------------------------------------------------------


def _caused_by(cause: BaseException) -> OpenAIStreamError:
    error = OpenAIStreamError("what happened")
    error.__cause__ = cause
    return error


class _Nested(OSError):
    def __init__(self, inner: BaseException) -> None:
        super().__init__("nested")
        self.inner = [inner]


class _Silent(OSError):
    def __str__(self) -> str:
        raise ValueError("it does not say")


class _Reasoned(OSError):
    reason = b""


def _reasoned() -> OSError:
    error = _Reasoned("no")
    error.reason = KEY.encode()
    return error


@pytest.mark.parametrize(
    "cause",
    [
        OSError(KEY),
        OSError(FORMS["percent-encoded"]),
        UnicodeDecodeError("utf-8", f"\xff{KEY}".encode("latin-1"), 0, 1, "no"),
        json.JSONDecodeError("no", KEY, 0),
        _Nested(OSError(KEY)),
        _Nested(_Nested(ValueError(KEY))),
        _Silent(),
        _reasoned(),
    ],
)
def test_drops_a_cause_that_shows_a_secret(cause: BaseException) -> None:
    error = _caused_by(cause)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is None


def test_keeps_a_cause_that_shows_nothing_and_forgets_its_request() -> None:
    request = requests.Request("POST", "http://h/", headers={"Authorization": KEY}).prepare()
    cause = requests.ConnectionError(OSError(111, "refused"), request=request)
    error = _caused_by(cause)
    error.__context__ = KeyError(KEY)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is cause
    assert cause.request is None
    assert error.__context__ is None
    assert "refused" in "".join(traceback.format_exception(error))


def test_ends_with_causes_that_lead_back_to_themselves() -> None:
    first, second = OSError("1"), OSError("2")
    first.__cause__, second.__cause__ = second, first
    error = _caused_by(first)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is first


def test_forgets_what_a_function_was_given_if_it_fails() -> None:
    @forgets
    def fail(*args: str, **arguments: str) -> None:
        assert args
        assert arguments
        raise OpenAIStreamError("no")

    with pytest.raises(OpenAIStreamError) as caught:
        fail("the-" + "secret", key="the-" + "other-one")
    ours = caught.value.__traceback__
    assert ours is not None
    wrapper = ours.tb_next
    assert wrapper is not None
    assert wrapper.tb_frame.f_locals["args"] == ()
    assert wrapper.tb_frame.f_locals["arguments"] == {}


# Logs ----------------------------------------------------------------------------------------


def test_changes_records_of_a_request_of_ours_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("urllib3.connectionpool")
    secrets = Secrets(lambda: [KEY])

    def log() -> Any:
        try:
            raise OSError(f"header {KEY}")
        except OSError:
            logger.warning("%s of %d, /?sig=abc", KEY, 1, exc_info=True)
        return caplog.records[-1]

    with hiding_in_logs(secrets):
        assert log().getMessage() == "*** of 1, /?sig=***"
        with hiding_in_logs(Secrets(list)):
            assert KEY in log().getMessage()
        log()
    assert caplog.text.count(KEY) == 2  # in a message, and in its traceback
    assert log().args == (KEY, 1)
    logger.debug("%s is well", "all")
    assert caplog.records[-1].args == ("all",)
