"""JSON as RFC 8259 has it, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import openai_stream
from openai_stream.errors import StreamDecodeError
from openai_stream.strict_json import decode_json

#: A loaded machine may take its time.
unhurried = settings(deadline=None)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
spaces = st.text(" \t\r\n", max_size=4)


def strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@unhurried
@given(json_values, spaces, spaces, st.booleans())
def test_all_json_is_read(value: Any, before: str, after: str, ascii_only: bool) -> None:
    text = before + json.dumps(value, ensure_ascii=ascii_only) + after
    assert json.dumps(decode_json(text)) == json.dumps(value)


@unhurried
@given(
    st.text()
    | st.text('{}[]":,0123456789.eE+-truefalsn \\u', max_size=12)
    | st.builds(
        lambda value, at, rest: (text := json.dumps(value))[: at % (len(text) + 1)] + rest,
        json_values,
        st.integers(0, 1000),
        st.text(max_size=3),
    )
)
@example("{} {}")
@example("{},")
@example("\xa0{}")
@example("\ufeff{}")
def test_nothing_else_is(text: str) -> None:
    try:
        expected = strict(text)
    except ValueError:
        with pytest.raises(StreamDecodeError):
            decode_json(text)
    else:
        assert json.dumps(decode_json(text)) == json.dumps(expected)


DIGITS = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nonsense",
        "{",
        '{"a": 1',
        '{"a": 1}}',
        "{'a': 1}",
        "NaN",
        "-Infinity",
        '{"a": NaN}',
        '{"a": [Infinity]}',
        ' {"a": NaN}',
        "[" * 200_000,
        " " + "[" * 200_000,
        '{"a":' * 200_000,
        "[" * 200_000 + "]" * 200_000,
        pytest.param(
            "1" * (DIGITS + 1), marks=pytest.mark.skipif(not DIGITS, reason="no such limit")
        ),
        pytest.param(
            ' {"a": -%s}' % ("1" * (DIGITS + 1)),
            marks=pytest.mark.skipif(not DIGITS, reason="no such limit"),
        ),
        '"a\nb"',
        "\xa0{}",
    ],
    ids=lambda text: ascii(text[:20]).replace("\\", "%"),  # so that pytest finds it by its id
)
def test_what_is_no_json_is_one_error_with_its_cause(text: str) -> None:
    with pytest.raises(StreamDecodeError, match="not JSON") as caught:
        decode_json(text)
    assert isinstance(caught.value.__cause__, (ValueError, RecursionError))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ("[" * 200_000, "it is nested too deep"),
        ('{"a":' * 2000, "it is nested too deep"),  # which Python 3.14 could read
        ('{"a":[' * 20, "Expecting value: line 1 column 121 (char 120)"),
        ('"open', "Unterminated string starting at: line 1 column 1 (char 0)"),
    ],
    ids=["constant", "depth", "a lesser depth", "no end", "syntax"],
)
def test_the_message_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(StreamDecodeError) as caught:
        decode_json(text)
    assert str(caught.value) == f"the server sent an event whose data is not JSON: {problem}"


def test_the_largest_integer_and_a_deep_value_are_read() -> None:
    assert decode_json("9" * 4000) == 10**4000 - 1
    deep = decode_json("[" * 200 + "]" * 200)
    assert json.dumps(deep) == "[" * 200 + "]" * 200


def test_no_other_module_refuses_constants() -> None:
    package = Path(openai_stream.__file__).parent
    found = [path.stem for path in package.rglob("*.py") if "parse_constant" in path.read_text()]
    assert found == ["strict_json"]
