"""The errors by themselves: one tree, a class for each status, and the way through a pickle."""

from __future__ import annotations

import copy
import copyreg
import pickle

import pytest

from openai_stream import errors
from openai_stream.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OpenAIStreamError,
    PermissionDeniedError,
    RateLimitError,
    RecordingError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    StructuredOutputError,
    UnprocessableEntityError,
    class_of_status,
)

CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


def test_one_tree() -> None:
    bases: dict[type, tuple[type, ...]] = {
        ConfigurationError: (OpenAIStreamError, ValueError),
        APIConnectionError: (OpenAIStreamError,),
        APITimeoutError: (APIConnectionError, TimeoutError),
        APIStatusError: (OpenAIStreamError,),
        **dict.fromkeys(
            [
                BadRequestError,
                AuthenticationError,
                PermissionDeniedError,
                NotFoundError,
                ConflictError,
                UnprocessableEntityError,
                RateLimitError,
                InternalServerError,
            ],
            (APIStatusError,),
        ),
        StreamError: (OpenAIStreamError,),
        RecordingError: (OpenAIStreamError,),
        StreamInterruptedError: (StreamError,),
        StreamTimeoutError: (StreamError, TimeoutError),
        StreamDecodeError: (StreamError,),
        StreamAPIError: (StreamError,),
        StructuredOutputError: (StreamError,),
        OpenAIStreamError: (Exception,),
    }
    assert {kind: kind.__bases__ for kind in CLASSES} == bases


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (503, InternalServerError),
        (599, InternalServerError),
        *((status, APIStatusError) for status in (402, 405, 408, 418, 499)),
    ],
)
def test_the_class_for_a_status(status: int, kind: type[APIStatusError]) -> None:
    assert class_of_status(status) is kind


def test_attributes_that_nobody_set_have_their_defaults() -> None:
    error = RateLimitError("slow down", status_code=429)
    assert str(error) == "slow down"
    assert error.status_code == 429
    assert (error.body, error.code, error.type, error.request_id) == (None,) * 4
    assert error.headers == {}
    assert error.retry_after is None
    assert StreamTimeoutError().deadline is None
    assert StreamDecodeError().lasting is False
    assert StreamError().snapshot is None
    assert StreamError().url is None
    assert str(StreamError()) == ""


def test_a_streams_error_says_where_it_happened() -> None:
    error = StreamError("what happened")
    assert str(error) == "what happened"
    error.url = "http://localhost/v1/responses"
    assert str(error) == "http://localhost/v1/responses: what happened"
    assert error.args == ("what happened",)


def test_who_pickles_all_exceptions_in_a_way_of_his_own_gets_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As ``tblib`` does for Dask: with what led to them.
    for kind in CLASSES:
        monkeypatch.setitem(
            copyreg.dispatch_table, kind, lambda error: (OSError, (repr(error.__cause__),))
        )
        error = kind("happened")
        error.__cause__ = OSError("the key")
        assert b"the key" not in pickle.dumps(error)
        assert type(pickle.loads(pickle.dumps(error))) is kind  # noqa: S301 - our own


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(kind: type[OpenAIStreamError], protocol: int) -> None:
    error = kind("what happened", code="no_such_model", body={"error": [1]})
    error.__cause__ = OSError("stays behind")
    error.added = "later"  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own
    assert type(again) is kind
    assert again.args == ("what happened",)
    assert str(again) == "what happened"
    assert vars(again) == {"code": "no_such_model", "body": {"error": [1]}, "added": "later"}
    assert again.__cause__ is None


def test_a_copy_is_its_own() -> None:
    error = StreamAPIError("what happened", code="one")
    again = copy.copy(error)
    again.code = "two"
    assert error.code == "one"
    assert again.args == error.args
