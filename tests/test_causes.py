"""What went wrong below, in a few words."""

from __future__ import annotations

import http.client

import pytest
import urllib3.exceptions

from openai_stream.transport import reason


def chained(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def circle() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("  what happened "), "what happened"),
        (ValueError(), "ValueError"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (OSError("only words"), "only words"),
        (chained(KeyError("outer"), ValueError("the cause")), "the cause"),
        (RuntimeError("outer", ValueError("first"), ValueError("last"), "text"), "last"),
        (
            urllib3.exceptions.MaxRetryError(
                None,  # type: ignore[arg-type]
                "/v1",
                urllib3.exceptions.ProtocolError("Connection aborted.", OSError(111, "refused")),
            ),
            "refused",
        ),
        (urllib3.exceptions.MaxRetryError(None, "/v1", None), None),  # type: ignore[arg-type]
        (
            urllib3.exceptions.ProtocolError(
                "Connection aborted.",
                http.client.HTTPException("got more than 100 interim responses"),
            ),
            "the server sent more than 100 interim responses",
        ),
    ],
)
def test_the_innermost_cause(error: BaseException, said: str | None) -> None:
    assert reason(error) == (str(error) if said is None else said)


def test_causes_in_a_circle_end() -> None:
    assert reason(circle()) in ("first", "second")
