"""What a secret is by its name, and in which forms its text is found again; and what is left."""

from __future__ import annotations

import base64
import html
import json
import logging
import sys
import traceback
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_stream.errors import OpenAIStreamError
from openai_stream.redaction import (
    AnswerWithout,
    Mask,
    Secrets,
    cleaned,
    cleaned_headers,
    forget_locals,
    forgets,
    forgets_what_it_is_made_of,
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


def mask(*keys: str) -> Mask:
    return Mask(keys or [KEY])


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


def test_takes_a_code_for_secret_in_a_query_alone() -> None:
    assert is_secret("code", parameter=True)
    assert not is_secret("code")


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
        ("/x?team=8-or-mor&t=7-or-so", "/x?team=********&t=7-or-so"),
        ("/x?openai-project=p-1&a=b", "/x?openai-project=***&a=b"),
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
        ("https://me:p/a@b@h/v1", "https://h/v1"),
        ("https://me:12:34/x@h/v1", "https://h/v1"),
        ("https://me:pass@h/p/http://x/y", "https://h/p/http://x/y"),
        ("https://me:pass@h/run/@cf/meta/llama", "https://h/run/@cf/meta/llama"),
        ("http://h:8080/v1/@x", "http://h:8080/v1/@x"),
        ("https://h/v1?a#b?c#d", "https://h/v1"),
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


ODD = 'p&ss<w0rd> of "me" \\ here € 99'
ODD_FORMS = {
    "itself": ODD,
    "HTML": html.escape(ODD),
    "HTML in HTML": html.escape(html.escape(ODD)),
    "HTML in ASCII": html.escape(ODD).encode("ascii", "xmlcharrefreplace").decode(),
    "HTML in ASCII, in hexadecimal": html.escape(ODD).replace("€", "&#x20AC;"),
    "a form": quote_plus(ODD),
    "a form with little quoted": ODD.replace(" ", "+"),
    "JSON": json.dumps(ODD),
    "JSON in JSON": json.dumps(json.dumps(ODD)),
}


@pytest.mark.parametrize("form", ODD_FORMS)
def test_finds_what_has_signs_in_it_that_are_escaped(form: str) -> None:
    hidden = Mask([ODD]).hide(f"not {ODD_FORMS[form]}, no")
    assert hidden.strip('"') in ("not ***, no", 'not "***", no', r'not "\"***\"", no')


@pytest.mark.parametrize("form", FORMS)
def test_finds_a_secret_in_every_form(form: str) -> None:
    text = f"the key {FORMS[form]} is wrong, {FORMS[form]}!"
    hidden = mask().hide(text)
    assert hidden.count("***") == 2
    assert hidden.startswith("the key ")
    assert hidden.endswith("!")
    assert "Proj" not in hidden
    assert "of-the" not in hidden
    assert mask().finds(text)
    assert mask().finds(text.encode())


@pytest.mark.parametrize("form", [form for form in FORMS if form != "a piece"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_hides_in_bytes_that_come_in_pieces(form: str, size: int) -> None:
    """As many stars, so that all lengths still hold."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    body = f'data: {{"said": "{FORMS[form]}"}}\n\n% \\ & {FORMS[form]} and \\u00e9 more'.encode()
    answer = AnswerWithout(mask())
    data = head + body
    got = b"".join(answer.take(data[at : at + size]) for at in range(0, len(data), size))
    got += answer.rest()
    assert got == head + mask().hide_bytes(body)
    assert len(got) == len(data)
    assert got.count(b"***") > 2
    assert got.endswith(b" and \\u00e9 more")


@settings(deadline=None)
@given(st.text("skProj-+4/=of%2\\u0d&#; ", max_size=60), st.integers(1, 9))
def test_hides_the_same_in_pieces_of_any_size(text: str, size: int) -> None:
    body = f"{KEY[:5]}{text}{KEY}{text}".encode()
    answer = AnswerWithout(mask())
    got = answer.take(b"HTTP/1.1 200 OK\r\n\r\n")
    got += b"".join(answer.take(body[at : at + size]) for at in range(0, len(body), size))
    got += answer.rest()
    assert len(got) == len(body) + 19
    assert KEY.encode() not in got


@settings(deadline=None)
@given(st.text(max_size=80))
def test_leaves_all_other_text_as_it_is(text: str) -> None:
    assert mask().hide(text) == text or KEY.lower() in text.lower()
    assert mask().hide_bytes(text.encode("utf-8", "surrogatepass")) == text.encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.parametrize("key", ["x", "none", "ollama", "test"])
def test_hides_short_keys_as_words_alone(key: str) -> None:
    words = Mask([key])
    assert words.hide(f"key {key}, but not {key}y nor y{key}") == (
        f"key ***, but not {key}y nor y{key}"
    )
    assert words.hide(f"{key}-request-id", words=False) == f"{key}-request-id"
    assert words.hide_long(f"{key} {KEY}") == f"{key} {KEY}"
    assert words.hide_bytes(f"a {key} b".encode()) == b"a %b b" % (b"*" * len(key))
    assert words.hide_bytes(f"a {key}".encode()) == b"a %b" % (b"*" * len(key))
    assert words.hide_bytes(f"a {key} b".encode(), words=False) == f"a {key} b".encode()
    assert not words.finds(key)


@pytest.mark.parametrize("key", ["1", "a", "dead", "200", "null", "true", ""])
def test_takes_numbers_literals_and_sizes_of_chunks_for_what_they_are(key: str) -> None:
    text = f'{{"a": {key or "null"}}} {key} {key}\r\n'
    assert Mask([key]).hide(text) == text
    assert Mask([key]).hide_bytes(text.encode()) == text.encode()


def test_hides_keys_with_characters_beyond_ascii() -> None:
    key = "clé-très-secrète"
    found = Mask([key])
    for text in (key, json.dumps(key), quote(key), key.encode().decode(errors="replace")):
        assert found.hide(f"bad {text}").strip('"') in ("bad ***", 'bad "***')
    sent = key.encode("latin-1")
    assert found.hide(sent.decode(errors="replace")) == "***"
    assert found.hide_bytes(sent) == b"*" * len(sent)


def test_hides_keys_that_cannot_be_written_in_latin() -> None:
    key = "ключ-of-the-tests"
    sent = key.encode("latin-1", "replace")
    assert sent == b"????-of-the-tests"
    assert Mask([key]).hide_bytes(sent) == b"*" * len(sent)
    assert Mask(["\xff-secret-of-tests"]).hide("&#255;-secret-of-tests") == "***"
    assert Mask(["domain\\user-of-tests"]).hide('"domain\\\\user-of-tests"') == '"***"'


def test_hides_in_text_that_is_not_unicode() -> None:
    key = "sk-\ud800-secret-of-tests"
    assert Mask([key]).hide(f"\ud83d {key} \ud83d") == "\ud83d *** \ud83d"
    assert Mask([key]).hide(f"\ud83d {key[:18]}") == "\ud83d ***"
    assert Mask([key]).finds(f"\ud83d {key} \ud83d")


def test_hides_each_of_many() -> None:
    assert mask().hide(f"{KEY} {KEY} {KEY}") == "*** *** ***"
    assert mask().hide(KEY + KEY) == "******"
    assert mask().hide(f"&#256; &#999; {quote(KEY, safe='')}") == "&#256; &#999; ***"
    assert Mask(["none", "ollama"]).hide("none of ollama") == "*** of ***"
    assert Mask(["ol", "ol-la", "ol-la-ma"]).hide("ol-la-ma ol-la ol") == "*** *** ***"
    assert Mask(["of%41-tests"]).hide("of%41-tests") == "***"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_hides_in_base64_all_letters_that_are_of_the_key_alone(before: str) -> None:
    key = "~~~~???>>>-of-the~tests~"
    for encode, letters in ((base64.b64encode, "+/"), (base64.urlsafe_b64encode, "-_")):
        text = encode(before.encode() + key.encode() + b"z").decode()
        first = (8 * len(before) + 5) // 6
        last = 8 * len(before + key) // 6
        assert any(one in text for one in letters)
        assert Mask([key]).hide(text) == f"{text[:first]}***{text[last:]}"


@pytest.mark.parametrize("key", ["8-letter", "8-letters", "16-letters-of-it", "17-letters-of-its"])
def test_hides_long_keys_as_parts_of_words(key: str) -> None:
    found = Mask([key])
    for text in (key, f"x{key}x"):
        assert found.hide(text) == found.hide_long(text) == text.replace(key, "***")
        assert found.finds(text)


@pytest.mark.parametrize("key", [KEY, "24-letters-as-16-and-8-x", "25-letters-as-16-and-9-xy"])
def test_hides_pieces_of_16_characters_and_more(key: str) -> None:
    found = Mask([key])
    for size in (16, 17, 20):
        for begin in range(len(key) - size + 1):
            piece = key[begin : begin + size]
            assert found.hide(f"of {piece}") == "of ***"
            assert found.hide(f"{piece}!") == "***!"
            assert found.hide(quote(piece, safe="")) == "***"
    for begin in range(len(key) - 15 + 1):
        text = f"much in front of it: {key[begin : begin + 15]}, and behind"
        assert found.hide(text) == text


@pytest.mark.parametrize(
    ("keys", "data", "size"),
    [
        (["none"], b"x no", 2),
        (["none"], b"x n", 1),
        (["none"], b"x none", 4),
        (["none"], b"x nonex", 0),
        (["none", "onesie"], b"x none", 4),
        (["none", "nonesuch"], b"x none", 4),
        (["none"], b"", 0),
        ([KEY], b"nothing", 0),
        ([KEY], b"xs", 1),
        ([KEY], f"x{KEY[:-1]}".encode(), len(KEY) - 1),
        ([KEY], f"xs{KEY}x".encode(), 0),
        ([KEY], KEY.encode(), 1),  # which ends as it begins
        ([KEY], b"x%", 1),
        ([KEY], b"x%73%", 4),
        ([KEY], b"x\\u00", 4),
        ([KEY], b"x&amp;#", 6),
    ],
)
def test_tells_what_may_be_a_secrets_beginning(keys: list[str], data: bytes, size: int) -> None:
    assert Mask(keys).begun(data) == size


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
        "X-8": "8-letter",
    }
    found = set(of_headers(headers))
    assert found >= {
        "one-1",
        "pass-2",
        "cookie-number-3",
        "a-value-4",
        "more words than one",
        "six",
        "8-letter",
    }
    assert not found & {"dark", "a-value-5", "short", "application/json", "Bearer one-1", "Bearer"}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ({"Authorization": "Bearer   one-1 "}, ["one-1"]),
        ({"Authorization": "a-1 of-two"}, ["a-1 of-two"]),
        ({"Authorization": base64.b64encode(b"me:pa:ss").decode()}, ["bWU6cGE6c3M="]),
        ({"Authorization": f"Basic {base64.b64encode(b'me:pa:ss').decode()}"},
         ["bWU6cGE6c3M=", "pa:ss"]),
        ({"Authorization": f"bAsic {base64.b64encode(b'only:').decode()}"}, ["b25seTo=", "only"]),
        ({"Authorization": "Basic a"}, ["a"]),
        ({"Cookie": "a=8-letter; b=X-of it=X"}, ["8-letter", "X-of it=X"]),
        ({"cookie": 'a="8-letter" ;b=seven-7'}, ["8-letter"]),
    ],
)  # fmt: skip
def test_knows_what_is_secret_in_a_header(header: dict[str, str], found: list[str]) -> None:
    assert list(of_headers(header)) == found


def test_finds_in_addresses_what_is_secret() -> None:
    url = "http://h/v1?api-key=a%2Fb&user=somebody&api-version=2024-10-21&n=1&empty&code="
    assert set(of_url(url)) == {"a/b", "a%2Fb", "somebody"}
    assert list(of_url("http://h/v1?code=c&api-key=a=b")) == ["c", "c", "a=b", "a=b"]
    assert list(of_url(None)) == []
    assert list(of_proxies(["http://me:p@a://s:s@h", "me:pass@h", "http://@h"])) == [
        *("p@a://s:s", "p@a://s:s", "p@a:"),  # the last is what a parser quotes of it
        *("pass", "pass", "pass"), *("", "", ""),
    ]  # fmt: skip
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
    assert secrets.mask() is secrets.mask()
    assert secrets.outside is None


def test_remembers_the_newest_requests_and_those_that_it_is_to_keep() -> None:
    secrets = Secrets(list)
    secrets.add_request({"X-Key": "the-key-to-keep"}, None, keep=True)
    for number in range(9):
        secrets.add_request({"X-Key": f"the-key-{number}"}, None)
    text = "the-key-to-keep the-key-0 the-key-1 the-key-8"
    assert secrets(text) == "*** the-key-0 *** ***"


def test_cleans_names_of_fields_of_long_keys_alone() -> None:
    value = {"code": ["code", {KEY: KEY}]}
    secrets = Secrets(lambda: [KEY, "code"])
    assert cleaned(value, secrets) == {"code": ["***", {"***": "***"}]}
    assert cleaned(value, str.upper) == {"CODE": ["CODE", {KEY.upper(): KEY.upper()}]}
    headers = {f"x-code-{KEY}": "code", "Set-Cookie": "a=b"}
    found = dict(cleaned_headers(headers, secrets))
    assert found == {"x-code-***": "***", "Set-Cookie": "***"}
    assert dict(cleaned_headers({"a": "b"}, str.upper)) == {"A": "B"}


# Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("HTTP/1.1 200 none of it\r\n\r\n", "HTTP/1.1 200 **** of it\r\n\r\n"),
        ("HTTP/1.1 401 token: none\r\n\r\n", "HTTP/1.1 401 token: ****\r\n\r\n"),
        ("HTTP/1.1 200 a\r\nSet-Cookie: a=b; c\r\n\td e\r\n f\r\nX: g\r\n\r\n",
         "HTTP/1.1 200 a\r\nSet-Cookie: ****\u0020*\r\n\t* *\r\n *\r\nX: g\r\n\r\n"),
        ("X: a:none\r\n none\r\n\r\n", "X: a:****\r\n ****\r\n\r\n"),
        (" or none\r\n\r\n", " or ****\r\n\r\n"),
        ("Set-Cookie: a:b\r\n\r\n", "Set-Cookie: ***\r\n\r\n"),
        ("none\r\n\r\n", "****\r\n\r\n"),
        ("none: none\r\n\r\n", "none: ****\r\n\r\n"),
        ("X-Request-Id: none\r\n\r\n", "X-Request-Id: none\r\n\r\n"),
        (f"X-{KEY}: {KEY}\r\n\r\n", f"X-{'*' * 22}: {'*' * 22}\r\n\r\n"),
        ("OpenAI-Organization: org-1\r\n\r\n", "OpenAI-Organization: *****\r\n\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nsid: a\r\n\r\nsid: a\r\n",
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nsid: *\r\n\r\nsid: a\r\n"),
        ("\r\nsid: a\r\n", "\r\nsid: a\r\n"),
        ("\r\nnone of ynone and nones, none", "\r\n**** of ynone and nones, ****"),
        ("HTTP/1.1 200 OK\r\nsid: ab", "HTTP/1.1 200 OK\r\nsid: **"),
    ],
)  # fmt: skip
def test_hides_in_each_line_of_the_head(said: str, shown: str, size: int) -> None:
    answer = AnswerWithout(mask(KEY, "none"))
    data = said.encode()
    got = b"".join(answer.take(data[at : at + size]) for at in range(0, len(data), size))
    got += answer.rest()
    assert got.decode() == shown
    assert answer.rest() == b""


def test_a_body_is_no_head_where_it_ends_as_one_would() -> None:
    answer = AnswerWithout(mask("sid:ab"))
    assert answer.take(b"\r\nx sid:a") + answer.rest() == b"\r\nx sid:a"


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


class _Saying(OSError):
    """Says other things than it has."""

    def __init__(self, text: str = "", shown: str = "", **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes)
        self._says = (lambda: text, lambda: shown)

    def __str__(self) -> str:
        return self._says[0]()

    def __repr__(self) -> str:
        return self._says[1]()


@pytest.mark.parametrize("key", [KEY, "none"])
@pytest.mark.parametrize("in_text", [True, False])
def test_drops_a_cause_that_shows_a_secret_in_one_way_only(key: str, in_text: bool) -> None:
    said = f"it was {key}"
    for cause in (_Saying(said), _Saying(shown=said)):
        error = _caused_by(cause)
        purge(error, Secrets(lambda: [key]))
        assert error.__cause__ is None
    harmless = _Saying("it was nothing", "nothing" if in_text else "")
    error = _caused_by(harmless)
    purge(error, Secrets(lambda: [key]))
    assert error.__cause__ is harmless


@pytest.mark.parametrize("value", [KEY, KEY.encode(), [KEY], {"a": (KEY,)}])
def test_drops_a_cause_that_has_a_secret_that_it_does_not_say(value: Any) -> None:
    error = _caused_by(_Saying(value=value))
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is None


def test_looks_for_causes_in_containers_three_deep() -> None:
    def holding(value: Any) -> OSError:
        return _Saying(value=value)

    cause = _Saying(secret=KEY)
    for value in (cause, [cause], {"a": (cause,)}):
        error = _caused_by(holding(value))
        purge(error, Secrets(lambda: [KEY]))
        assert (error.__cause__ is None) == (value != {"a": (cause,)})
    endless: list[Any] = []
    endless.append(endless)
    outer = holding(endless)
    error = _caused_by(outer)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is outer


@pytest.mark.parametrize(("links", "kept"), [(99, True), (100, False)])
def test_looks_at_a_hundred_links_of_a_chain(links: int, kept: bool) -> None:
    first = cause = OSError(0)
    for number in range(1, links):
        cause.__cause__ = cause = OSError(number)
    error = _caused_by(first)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is (first if kept else None)


def test_leaves_what_the_caller_handles_alone() -> None:
    outside, inner = KeyError(KEY), OSError("nothing")
    inner.__context__ = outside
    error = _caused_by(inner)
    error.__context__ = outside
    secrets = Secrets(lambda: [KEY])
    secrets.outside = id(outside)
    purge(error, secrets)
    assert error.__cause__ is inner
    assert error.__context__ is outside


def test_forgets_what_can_be_forgotten_of_a_cause() -> None:
    class Fixed(OSError):
        @property
        def request(self) -> None:
            """It cannot be set."""

    cause = Fixed("no")
    vars(cause).update(request=object(), response=object(), pool=None)
    error = _caused_by(cause)
    purge(error, Secrets(list))
    assert error.__cause__ is cause
    assert vars(cause)["response"] is None


def test_cleans_what_an_error_has() -> None:
    deep: Any = KEY
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    error = OpenAIStreamError("no")
    error.args = (f"{KEY} none", 5, None)
    earlier = ValueError(KEY)
    vars(error).update(
        note=f"{KEY} none", body={KEY: [KEY, "none"]}, items=[KEY], number=5, deep=deep,
        snapshot=[KEY], earlier=(earlier,),
    )  # fmt: skip
    purge(error, Secrets(lambda: [KEY, "none"]))
    assert error.args == ("*** none", 5, None)
    assert vars(error) == {
        "note": "*** none", "body": {"***": ["***", "***"]}, "items": ["***"], "number": 5,
        "deep": None, "snapshot": [KEY], "earlier": (earlier,),
    }  # fmt: skip
    assert earlier.args == ("***",)
    other = ValueError(KEY)  # it has none before it
    purge(other, Secrets(lambda: [KEY]))
    assert other.args == ("***",)


def test_ends_with_causes_that_lead_back_to_one_behind_them() -> None:
    first, second, third = OSError("1"), OSError("2"), OSError("3")
    first.__cause__, second.__cause__, third.__cause__ = second, third, second
    error = _caused_by(first)
    purge(error, Secrets(lambda: [KEY]))
    assert error.__cause__ is first


@pytest.mark.parametrize("name", ["requests", "urllib3.response", "openai_stream.a.b", "http.x"])
def test_forgets_the_locals_of_frames_that_are_not_the_users(name: str) -> None:
    def frames(error: BaseException) -> list[tuple[str, bool]]:
        found, traceback_ = [], error.__traceback__
        while traceback_ is not None:
            frame = traceback_.tb_frame
            found.append((frame.f_code.co_name, "secret" in frame.f_locals))
            traceback_ = traceback_.tb_next
        return found[1:]

    source = "def {}(following):\n    secret = 'the-' 'secret'\n    following[0](following[1:])"
    steps: list[Any] = []
    for module in ("mine", name, "requests_of_mine", name, None):
        space: dict[str, Any] = {} if module is None else {"__name__": module}
        exec(source.format("of_ours" if module == name else "of_mine"), space)  # noqa: S102
        steps.append(space["of_ours" if module == name else "of_mine"])

    def fail(_: object) -> None:
        raise OSError

    with pytest.raises(OSError, match=r"^$") as caught:
        steps[0]([*steps[1:], fail])
    forget_locals(caught.value.__traceback__)
    mine, ours = ("of_mine", True), ("of_ours", False)
    assert frames(caught.value) == [mine, ours, mine, ours, mine, ("fail", False)]


def test_forgets_what_an_object_is_made_of_if_that_fails() -> None:
    @forgets_what_it_is_made_of
    class Made:
        def __init__(self, key: str) -> None:
            self.length = len(key)
            if not key:
                raise OpenAIStreamError("no")

    assert Made("the-" + "secret").length == 10
    with pytest.raises(OpenAIStreamError) as caught:
        Made("")
    ours = caught.value.__traceback__
    assert ours is not None
    assert ours.tb_next is not None
    assert ours.tb_next.tb_frame.f_locals["args"] == ()


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
    with hiding_in_logs(Secrets(lambda: [KEY, "none"])):
        try:
            raise OSError(f"none but {KEY} X")
        except OSError as error:
            plain = "".join(traceback.format_exception(error))
            logger.warning("none of it is well", exc_info=True)
    assert caplog.records[-1].getMessage() == "none of it is well"
    assert caplog.records[-1].exc_text == plain.replace(KEY, "***").removesuffix("\n")
    logger.debug("%s is well", "all")
    assert caplog.records[-1].args == ("all",)
