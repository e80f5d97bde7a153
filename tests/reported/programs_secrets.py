"""Keys, and where they could show."""

from __future__ import annotations

from .row import Situation

_WALK = "tests/test_secrets.py::test_the_key_shows_nowhere"
_GIVEN = "tests/test_secrets.py::test_a_secret_shows_nowhere_however_it_is_given"
_REFUSED = "tests/test_secrets.py::test_what_is_refused_does_not_show"
_NO_ANSWER = "tests/test_secrets.py::test_the_key_shows_nowhere_without_an_answer"

ROWS: tuple[Situation, ...] = (
    Situation(
        name="A key in the query, and a status error",
        source="BerriAI/litellm#15799",
        situation="The base URL has ``?key=…`` in it; the server answers 401 and quotes the key.",
        right="The error names the address without its query, and the key in no form.",
        before="the key in the message, its attributes, the pickle and the spans",
        test=f"{_GIVEN}[the query of the address-message]",
    ),
    Situation(
        name="A key in the query, and no answer",
        source="BerriAI/litellm#24902",
        situation="The base URL has ``?api-key=…`` in it; the server is silent until time is up.",
        right="Neither the traceback nor the causes have the URL with its query.",
        before="in the pickle with causes, and in what the error leads to",
        test=f"{_NO_ANSWER}[own-_silent-stream]",
    ),
    Situation(
        name="urllib3 logs signed URLs",
        source="databricks/databricks-sql-python#340",
        situation="Logging is at DEBUG, where urllib3 writes the target of each request.",
        right="The record is there, with stars in the place of the value.",
        before="the value in the record",
        test=f"{_GIVEN}[a parameter of the session-message]",
    ),
    Situation(
        name="All headers in a record of DEBUG",
        source="openai/openai-python#1196",
        situation="Logging is at DEBUG for every logger, and the server quotes the key.",
        right="No record has the key, sseclient's of an event's name included.",
        before="the key in sseclient's records of field names, events and ids",
        test=f"{_WALK}[own-event-stream]",
    ),
    Situation(
        name="A key with a line break",
        source="slackapi/java-slack-sdk#566",
        situation="The key was read from a file and not stripped.",
        right="An error before anything is sent, which shows the key nowhere.",
        before="in the locals of the frames",
        test=f"{_REFUSED}[a key with a line break]",
    ),
    Situation(
        name="A key with a line break in a header of a call",
        source="bytedance/deer-flow#5097",
        situation="A credential for one call has a line break at its end.",
        right="An error that names the header, and shows its value nowhere.",
        before="in the locals of the frames",
        test=f"{_REFUSED}[headers of a call]",
    ),
    Situation(
        name="A reporter sends the locals of each frame",
        source="dimagi/open-chat-studio#4508",
        situation="A call fails with a subscription key in a header; the traceback is formatted "
        "with the locals of all frames.",
        right="No frame of the library's has the key.",
        before="the key in the message, in frames, pickle and spans",
        test=f"{_GIVEN}[a header of the call-message]",
    ),
    Situation(
        name="The password of a proxy in an exception",
        source="boto/botocore#2422",
        situation="The proxy's URL has a user and a password, and a scheme that nobody knows.",
        right="The error shows neither, nor does anything that it leads to.",
        before="in the pickle with causes, and in what the error leads to",
        test=f"{_NO_ANSWER}[own-_proxy_of_no_scheme-whole]",
    ),
    Situation(
        name="A proxy that refuses, and quotes",
        source="aio-libs/aiohttp#5399",
        situation="The proxy answers CONNECT with 407, and the password in its reason.",
        right="The error says that the proxy gives no connection, without the password.",
        before="right",
        test=f"{_NO_ANSWER}[own-_tunnel-stream]",
    ),
    Situation(
        name="An address that cannot be parsed, with a password",
        source="oven-sh/bun#42947",
        situation="The password has a slash in it, which ends the host's part of the URL early.",
        right="The error that refuses the address shows nothing of the password.",
        before="the beginning of the password in the message, the rest in the frames",
        test=f"{_REFUSED}[a password with a slash]",
    ),
    Situation(
        name="A recorder whose list lacks the header",
        source="canonical/ubuntu.com#16555",
        situation="The key goes in a header that no list of secret headers has.",
        right="A recording has stars there: what a user sends is hidden unless it is harmless.",
        before="the key in the recording",
        test="tests/test_recordings.py::test_hides_what_the_user_sends_under_any_name",
    ),
    Situation(
        name="Telemetry repeats what the server quotes",
        source="open-telemetry/opentelemetry-python-contrib#2992",
        situation="Spans are made with the content of messages; the secret is the password of a "
        "session's auth, and the server quotes it.",
        right="No attribute of a span or of a metric has it.",
        before="in the status of the span",
        test=f"{_GIVEN}[the auth of the session-message]",
    ),
    Situation(
        name="A proxy's password that is not quoted",
        source="psf/requests#2703",
        situation="It has a #, a slash or a bracket in it; urllib3 quotes a part as the host.",
        right="ConfigurationError without a part of it, which says what to quote.",
        before="the password in the message",
        test="tests/test_wrong_use.py::test_a_proxys_password_that_is_not_quoted",
    ),
    Situation(
        name="A key with signs that HTML and forms escape",
        source="",
        situation="A gateway's page of an error has it with &amp; and &#8364;, or + for a blank.",
        right="It is hidden in these forms too.",
        before="in the message and in the body",
        test="tests/test_redaction.py::test_finds_what_has_signs_in_it_that_are_escaped",
    ),
)
