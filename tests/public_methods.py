"""The public methods and properties that came with their classes, in version 0.1.

What is added later says so in its own docstring, and is not put here.
"""

from __future__ import annotations

FIRST_METHODS = {
    "openai_stream.AzureClient": "close create_chat_completion create_completion",
    "openai_stream.ChatCompletion": "parsed",
    "openai_stream.Client": "close create_chat_completion create_completion create_response stream",
    "openai_stream.EventQueue": (
        "close get get_nowait is_shutdown items partials parts put shutdown stream text "
        "unfinished_tasks"
    ),
    "openai_stream.Response": "output_text parsed to_input",
    "openai_stream.Stream": (
        "add_done_callback cancelled close done exception future headers parsed request_id "
        "result running snapshot stats status_code subscribe"
    ),
    "openai_stream.local.LocalServer": "base_url close model start",
    "openai_stream.models.Message": "to_param",
    "openai_stream.models.Model": "extra from_dict to_dict",
    "openai_stream.recordings.RecordedExchange": "data",
    "openai_stream.recordings.RecordedRequest": "path",
    "openai_stream.recordings.Recorder": "close tap watch",
    "openai_stream.testing.Call": "play",
    "openai_stream.testing.Connection": (
        "finish handshake pause pause_until receive reset send serve wait wait_for "
        "wait_until_blocked"
    ),
    "openai_stream.testing.Drip": "play",
    "openai_stream.testing.Fault": "rest",
    "openai_stream.testing.Fin": "play",
    "openai_stream.testing.Handshake": "play",
    "openai_stream.testing.Hang": "play",
    "openai_stream.testing.Pause": "play",
    "openai_stream.testing.Receive": "play",
    "openai_stream.testing.Repeat": "play",
    "openai_stream.testing.Request": "path query",
    "openai_stream.testing.Reset": "play",
    "openai_stream.testing.ScriptedServer": (
        "always answer_from close failures forget on_connect play ssl_context "
        "wait_for_connections wait_for_requests"
    ),
    "openai_stream.testing.Send": "play",
    "openai_stream.testing.Step": "play",
    "openai_stream.testing.Until": "play",
    "openai_stream.testing.Wait": "play",
    "openai_stream.web.Body": "close",
}
