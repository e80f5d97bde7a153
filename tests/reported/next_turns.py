"""What servers refuse when an answer is sent back, and what they miss.

Each row is played as an answer, streamed and whole; what ``to_param()`` and ``to_input()`` make of
it is the next request.
"""

from __future__ import annotations

from typing import Any

import attrs

from .row import JSON, Situation

OSLO = '{"city":"Oslo"}'
SIGNATURE = "c2lnbmVk"


@attrs.frozen
class NextTurn:
    """An answer, and what of it the next request takes.

    :param name: what the server does, in a few words.
    :param source: the public thread.
    :param right: what is right, in words.
    :param answer: the message; for ``/responses`` the whole response.
    :param sent: the message of the request, or the items of its input.
    """

    name: str
    source: str
    right: str
    answer: JSON
    sent: Any


def call(arguments: str = OSLO, **more: Any) -> JSON:
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function, **more}


def said(content: Any, **more: Any) -> JSON:
    return {"role": "assistant", "content": content, **more}


def response(*output: JSON, **more: Any) -> JSON:
    return {"id": "r1", "object": "response", "status": "completed", "output": [*output], **more}


def reasoning(**more: Any) -> JSON:
    return {"type": "reasoning", "id": "rs_1", "summary": [], **more}


def message(text: str = "It rains.", **more: Any) -> JSON:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part], **more}


def function_call(arguments: str = OSLO, **more: Any) -> JSON:
    called = {"call_id": "call_1", "name": "get_weather", "arguments": arguments}
    return {"type": "function_call", "id": "fc_1", **called, **more}


def without(item: JSON, *keys: str) -> JSON:
    return {key: value for key, value in item.items() if key not in keys}


DETAILS = [{"type": "reasoning.text", "index": 0, "text": "I see.", "signature": SIGNATURE}]
BLOCKS = [
    {"type": "thinking", "thinking": "", "signature": SIGNATURE},
    {"type": "redacted_thinking", "data": "eHg="},
]
THOUGHT = {"google": {"thought_signature": SIGNATURE}}

MESSAGES = (
    NextTurn(
        name="Refuses a function_call that is null",
        source="openai/openai-python#777",
        right="it is left out",
        answer=said(None, tool_calls=[call()], function_call=None),
        sent=said(None, tool_calls=[call()]),
    ),
    NextTurn(
        name="Refuses a refusal that is null",
        source="github/copilot-sdk#2061",
        right="it is left out",
        answer=said("It rains.", refusal=None),
        sent=said("It rains."),
    ),
    NextTurn(
        name="Refuses an assistant's turn that is only a refusal",
        source="openai/openai-agents-js#1524",
        right="the refusal is the content",
        answer=said(None, refusal="I will not."),
        sent=said("I will not."),
    ),
    NextTurn(
        name="Refuses an empty text beside calls",
        source="vercel/ai#13538",
        right="content is null",
        answer=said("", tool_calls=[call()]),
        sent=said(None, tool_calls=[call()]),
    ),
    NextTurn(
        name="Refuses null without calls",
        source="openai/openai-cookbook#503",
        right="content is an empty text",
        answer=said(None),
        sent=said(""),
    ),
    NextTurn(
        name="Refuses reasoning_content, which another server has sent",
        source="BerriAI/litellm#30835",
        right="it is left out without calls",
        answer=said("It rains.", reasoning_content="I see."),
        sent=said("It rains."),
    ),
    NextTurn(
        name="Refuses its own reasoning after a call",
        source="karthink/gptel#774",
        right="it is left out",
        answer=said(None, reasoning="I see.", tool_calls=[call()]),
        sent=said(None, tool_calls=[call()]),
    ),
    NextTurn(
        name="Misses the reasoning_content beside calls (DeepSeek)",
        source="abhigyanpatwari/GitNexus#43",
        right="it goes back",
        answer=said(None, reasoning_content="I see.", tool_calls=[call()]),
        sent=said(None, reasoning_content="I see.", tool_calls=[call()]),
    ),
    NextTurn(
        name="Misses the reasoning_content beside calls, though it is empty (Kimi)",
        source="Lapis0x0/obsidian-yolo#243",
        right="it goes back, empty",
        answer=said("", reasoning_content="", tool_calls=[call()]),
        sent=said(None, reasoning_content="", tool_calls=[call()]),
    ),
    NextTurn(
        name="Misses the thought_signature of a call (Gemini)",
        source="securo-finance/securo#884",
        right="extra_content goes back in its call",
        answer=said(None, tool_calls=[call(extra_content=THOUGHT)]),
        sent=said(None, tool_calls=[call(extra_content=THOUGHT)]),
    ),
    NextTurn(
        name="Misses reasoning_details (OpenRouter)",
        source="home-assistant/core#159812",
        right="they go back as they are, the plain reasoning does not",
        answer=said("It rains.", reasoning="I see.", reasoning_details=DETAILS),
        sent=said("It rains.", reasoning_details=DETAILS),
    ),
    NextTurn(
        name="Misses reasoning_details without a signature (Kimi behind OpenRouter)",
        source="earendil-works/pi#988",
        right="they go back",
        answer=said(
            None,
            reasoning_details=[{"type": "reasoning.text", "text": "I see."}],
            tool_calls=[call()],
        ),
        sent=said(
            None,
            reasoning_details=[{"type": "reasoning.text", "text": "I see."}],
            tool_calls=[call()],
        ),
    ),
    NextTurn(
        name="Misses the thinking before a tool's use (Anthropic behind LiteLLM)",
        source="anomalyco/opencode#3077",
        right="thinking_blocks go back",
        answer=said("", thinking_blocks=DETAILS, tool_calls=[call()]),
        sent=said(None, thinking_blocks=DETAILS, tool_calls=[call()]),
    ),
    NextTurn(
        name="Misses thinking that is only a signature, or redacted",
        source="openai/openai-agents-python#4155",
        right="they go back as they are",
        answer=said("It rains.", thinking_blocks=BLOCKS),
        sent=said("It rains.", thinking_blocks=BLOCKS),
    ),
    NextTurn(
        name="Misses reasoning_opaque and the text that it seals (GitHub Copilot)",
        source="anomalyco/opencode#8900",
        right="both go back",
        answer=said(None, reasoning_text="I see.", reasoning_opaque=SIGNATURE, tool_calls=[call()]),
        sent=said(None, reasoning_text="I see.", reasoning_opaque=SIGNATURE, tool_calls=[call()]),
    ),
    NextTurn(
        name="Refuses the conversation for arguments that are not JSON (llama.cpp)",
        source="ggml-org/llama.cpp#25510",
        right="they are {}",
        answer=said(None, tool_calls=[call('{"city":"Os')]),
        sent=said(None, tool_calls=[call("{}")]),
    ),
    NextTurn(
        name="Refuses the conversation for empty arguments (vLLM)",
        source="vllm-project/vllm#19419",
        right="they are {}",
        answer=said(None, tool_calls=[call("")]),
        sent=said(None, tool_calls=[call("{}")]),
    ),
    NextTurn(
        name="Refuses the conversation for arguments that are not an object (SGLang)",
        source="sgl-project/sglang#28035",
        right="they are {}",
        answer=said(None, tool_calls=[call('["Oslo"]')]),
        sent=said(None, tool_calls=[call("{}")]),
    ),
    NextTurn(
        name="Takes spoken answers back by their id",
        source="jamesrochabrun/SwiftOpenAI#96",
        right="the id alone goes back",
        answer=said(
            None,
            audio={"id": "audio_1", "data": "UklG", "transcript": "It rains.", "expires_at": 9},
        ),
        sent={"role": "assistant", "audio": {"id": "audio_1"}},
    ),
    NextTurn(
        name="Refuses the citations that it has sent",
        source="epam/statgpt-backend#676",
        right="they are left out",
        answer=said(
            "It rains.",
            annotations=[{"type": "url_citation", "url_citation": {"url": "https://a.example/"}}],
        ),
        sent=said("It rains."),
    ),
)

RESPONSES = (
    NextTurn(
        name="Refuses the status of reasoning",
        source="BerriAI/litellm#13420",
        right="it is left out",
        answer=response(reasoning(status="completed"), function_call(), store=True),
        sent=[reasoning(), function_call()],
    ),
    NextTurn(
        name="Refuses fields of reasoning that are null",
        source="openai/openai-python#3053",
        right="they are left out",
        answer=response(
            reasoning(status=None, encrypted_content=None, content=None), message(), store=True
        ),
        sent=[reasoning(), message()],
    ),
    NextTurn(
        name="Knows no id with store=False, and reasoning is encrypted",
        source="NousResearch/hermes-agent#10217",
        right="ids are left out",
        answer=response(
            reasoning(encrypted_content=SIGNATURE), function_call(), message(), store=False
        ),
        sent=[
            without(reasoning(encrypted_content=SIGNATURE), "id"),
            without(function_call(), "id"),
            without(message(), "id"),
        ],
    ),
    NextTurn(
        name="Knows no id with store=False, and reasoning is not encrypted",
        source="vercel/ai#7543",
        right="reasoning is left out",
        answer=response(reasoning(encrypted_content=None), function_call(), store=False),
        sent=[without(function_call(), "id")],
    ),
    NextTurn(
        name="Refuses reasoning without the item that follows it",
        source="continuedev/continue#8933",
        right="it is left out",
        answer=response(message(), reasoning(), status="incomplete", store=True),
        sent=[message()],
    ),
    NextTurn(
        name="Refuses a call without the reasoning that it was made from",
        source="vercel/ai#10829",
        right="both go back, with their ids",
        answer=response(reasoning(), function_call(), store=True),
        sent=[reasoning(), function_call()],
    ),
    NextTurn(
        name="Refuses reasoning without a summary",
        source="newo-ether/Agora#141",
        right="there is one, though empty",
        answer=response(without(reasoning(), "summary"), message(), store=True),
        sent=[
            {"type": "reasoning", "id": "rs_1", "summary": []},
            message(),
        ],
    ),
    NextTurn(
        name="Refuses reasoning that has nothing in it (llama.cpp)",
        source="am17an/llama.cpp#50",
        right="it is left out",
        answer=response(reasoning(content=[]), message()),
        sent=[message()],
    ),
    NextTurn(
        name="Refuses what an image was made with",
        source="Yeachan-Heo/gajae-code#1688",
        right="id, status and result go back",
        answer=response(
            {
                "type": "image_generation_call",
                "id": "ig_1",
                "status": "completed",
                "result": "iVBO",
                "action": "generate",
                "background": "opaque",
                "revised_prompt": "A cat.",
            },
            store=True,
        ),
        sent=[
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBO"}
        ],
    ),
    NextTurn(
        name="Refuses a message without an id (OpenRouter)",
        source="CherryHQ/cherry-studio#10477",
        right="ids go back, unless store is false",
        answer=response(message(status="completed")),
        sent=[message(status="completed")],
    ),
    NextTurn(
        name="Refuses a response's call for arguments that are not JSON",
        source="OpenHands/OpenHands#13949",
        right="they are {}",
        answer=response(function_call('{"city":"Os', status="incomplete"), store=True),
        sent=[function_call("{}", status="incomplete")],
    ),
)

TURNS = (*MESSAGES, *RESPONSES)

ROWS = tuple(
    Situation(
        name=row.name,
        source=row.source,
        situation="an answer is sent back",
        right=row.right,
        before="no such method",
        test="tests/test_next_turn.py::test_goes_back",
    )
    for row in TURNS
)
