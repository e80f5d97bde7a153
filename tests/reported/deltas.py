"""Deltas: tool calls, lists, objects, content in parts, choices, halves of an emoji."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openai_stream.testing import answer, frame

from .row import JSON, STOP, Report, Whole, chunk, said, texts

CALLS_END = chunk({}, "tool_calls")
OSLO, PARIS = '{"city":"Oslo"}', '{"city":"Paris"}'
CET = '{"zone":"CET"}'
WEATHER, TIME = "get_weather", "get_time"
SIGNATURE = "c2lnbmVk"


# What the rows are made of -----------------------------------------------------------------------


def call(
    name: str | None = None,
    arguments: Any = None,
    *,
    id: str | None = None,
    index: int | None = 0,
    **more: Any,
) -> JSON:
    """A fragment of a tool call, without what is ``None``; where a call may begin, with its type,
    as nearly all servers have it.
    """
    function = {"name": name, "arguments": arguments}
    fields = {
        "index": index,
        "id": id,
        "type": None if name is None and id is None else "function",
        "function": {key: value for key, value in function.items() if value is not None},
    }
    return {**{key: value for key, value in fields.items() if value not in (None, {})}, **more}


def calls(*chunks: JSON | list[JSON], end: JSON = CALLS_END) -> list[JSON]:
    """Chunks with fragments of tool calls, one or a list of them each."""
    lists = [[one] if isinstance(one, dict) else one for one in chunks]
    return [
        chunk({"role": "assistant", "content": None}),
        *(chunk({"tool_calls": fragments}) for fragments in lists),
        end,
    ]


def called(*whole: tuple[str | None, str, Any], content: str | None = None, **more: Any) -> Whole:
    """The answer that has these calls, each with its id, name and arguments."""
    tool_calls = [
        {
            **({} if id is None else {"id": id}),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
            **more,
        }
        for id, name, arguments in whole
    ]
    return Whole(message={"role": "assistant", "content": content, "tool_calls": tool_calls})


def tools(*names: str) -> JSON:
    return {"tools": [{"type": "function", "function": {"name": name}} for name in names]}


def deltas(*parts: JSON, end: JSON = STOP) -> list[JSON]:
    return [chunk({"role": "assistant", "content": ""}), *(chunk(part) for part in parts), end]


def numbered(pieces: Sequence[str], first: int = 0) -> list[JSON]:
    """Chunks whose index of the choice counts the tokens."""
    last = first + len(pieces)
    return [
        *(chunk({"role": "assistant", "content": x}, index=n) for n, x in enumerate(pieces, first)),
        chunk({}, "stop", index=last),
    ]


def escaped(*chunks: JSON) -> list[bytes]:
    """Frames in ASCII, as halves of a character can only be sent."""
    return [frame(json.dumps(one)) for one in chunks]


# Tool calls --------------------------------------------------------------------------------------

TOOL_CALLS = (
    Report(
        name="Numbers all calls 0 and gives them no id",
        source="huggingface/smolagents#1958",
        server="Ollama behind LiteLLM",
        sent=answer(calls(call(WEATHER, OSLO, id=""), call(TIME, CET, id=""))),
        right=called(("", WEATHER, OSLO), ("", TIME, CET)),
        before="one call, its arguments those of both",
    ),
    Report(
        name="Numbers all calls of one tool 0 and gives them no id",
        source="huggingface/smolagents#1958",
        server="Ollama behind LiteLLM",
        sent=answer(calls(call(WEATHER, OSLO), call(WEATHER, PARIS))),
        right=called((None, WEATHER, OSLO), (None, WEATHER, PARIS)),
        before="one call, its arguments those of both",
    ),
    Report(
        name="Numbers all calls 0, each with an id",
        source="ollama/ollama#15457",
        server="Ollama",
        sent=answer(calls(call(WEATHER, OSLO, id="a"), call(WEATHER, PARIS, id="b"))),
        right=called(("a", WEATHER, OSLO), ("b", WEATHER, PARIS)),
        before="right",
    ),
    Report(
        name="Numbers all calls 0, cuts their arguments, empty ids in between",
        source="InternLM/lmdeploy#3412",
        server="vLLM, LMDeploy",
        sent=answer(
            calls(
                call(WEATHER, "", id="a"),
                call(None, OSLO[:5], id=""),
                call(None, OSLO[5:], id=""),
                call(TIME, "", id="b"),
                call(None, CET, id=""),
            )
        ),
        right=called(("a", WEATHER, OSLO), ("b", TIME, CET)),
        before="right",
    ),
    Report(
        name="Gives all calls one id and one index",
        source="skye-harris/hass_local_openai_llm#92",
        server="a provider behind OpenRouter",
        sent=answer(
            calls(call(WEATHER, OSLO, id="call_0"), call(TIME, "", id="call_0"), call(None, CET))
        ),
        right=called(("call_0", WEATHER, OSLO), ("call_0", TIME, CET)),
        before="one call, its arguments those of both",
    ),
    Report(
        name="Sends a new id with each fragment",
        source="NousResearch/hermes-agent#5331",
        server="LM Studio",
        sent=answer(
            calls(
                call(WEATHER, "", id="t1"),
                call("", '{"city":', id="t2"),
                call("", '"Oslo"', id="t3"),
                call("", "}", id="t4"),
            )
        ),
        right=called(("t1", WEATHER, OSLO)),
        before="a call a fragment",
    ),
    Report(
        name="Sends a new id with each fragment, and no index",
        source="NousResearch/hermes-agent#5331",
        server="LM Studio",
        sent=answer(
            calls(
                call(WEATHER, "", id="t1", index=None),
                call(None, '{"city":', id="t2", index=None),
                call(None, '"Oslo"}', id="t3", index=None),
            )
        ),
        right=called(("t1", WEATHER, OSLO)),
        before="a call a fragment",
    ),
    Report(
        name="Has one id for a call's beginning and another for the rest",
        source="poolsideai/pool#9",
        server="Poolside",
        sent=answer(
            calls(
                call(WEATHER, "", id="first"),
                call(None, OSLO[:8], id="rest"),
                call(None, OSLO[8:], id="rest"),
            )
        ),
        right=called(("first", WEATHER, OSLO)),
        before="two calls, the first without arguments",
    ),
    Report(
        name="Cuts the name of a tool",
        source="continuedev/continue#5849",
        server="Gemini",
        sent=answer(
            calls(call("edit_ex", "", id="a"), call("isting_file", "{"), call(None, '"path":1}'))
        ),
        right=called(("a", "edit_existing_file", '{"path":1}')),
        before="the last piece of the name",
    ),
    Report(
        name="Cuts the name into tokens, with the id each time",
        source="openai/openai-agents-python#326",
        server="a server that cuts names as texts",
        sent=answer(
            calls(*(call(piece, id="a") for piece in ("get", "_", "weather")), call(None, OSLO))
        ),
        right=called(("a", WEATHER, OSLO)),
        before="the last piece of the name",
        body=tools(WEATHER, TIME),
    ),
    Report(
        name="Repeats the name in each fragment",
        source="NousResearch/hermes-agent#12230",
        server="MiniMax M2.7 behind NVIDIA NIM",
        sent=answer(
            calls(
                call("read_file", "", id="a"),
                call("read_file", '{"path"'),
                call("read_file", ":1}"),
            )
        ),
        right=called(("a", "read_file", '{"path":1}')),
        before="right",
    ),
    Report(
        name="Sends the name after the arguments",
        source="vercel/ai#14722",
        server="a server that speaks OpenAI's protocol",
        sent=answer(
            calls(call(None, '{"command":', id="a"), call("bash", ""), call(None, '"ls"}'))
        ),
        right=called(("a", "bash", '{"command":"ls"}')),
        before="right",
    ),
    Report(
        name="Begins the arguments with {}",
        source="openai/openai-agents-js#712",
        server="Bedrock",
        sent=answer(calls(call(WEATHER, "{}", id="a"), call(None, OSLO[:6]), call(None, OSLO[6:]))),
        right=called(("a", WEATHER, OSLO)),
        before="{} before the arguments",
    ),
    Report(
        name="Calls a tool without arguments as {}",
        source="Kilo-Org/cloud#4753",
        server="Qwen and others behind a gateway",
        sent=answer(calls(call("now", "{}", id="a"), call(None, ""))),
        right=called(("a", "now", "{}")),
        before="right",
    ),
    Report(
        name="Sends all arguments so far in each chunk",
        source="NousResearch/hermes-agent#35718",
        server="DeepSeek at Baidu Qianfan",
        sent=answer(
            calls(
                call(WEATHER, '{"city":"O', id="a"),
                call(None, '{"city":"Osl'),
                call(None, OSLO),
                call(None, OSLO),
            )
        ),
        right=called(("a", WEATHER, OSLO)),
        before="all of them, one behind the other",
    ),
    Report(
        name="Sends all of the call so far in each chunk",
        source="vercel/ai#15888",
        server="a server that speaks OpenAI's protocol",
        sent=answer(
            calls(
                call(WEATHER, "{", id="a"),
                call(WEATHER, '{"city":"Os', id="a"),
                call(WEATHER, OSLO, id="a"),
            )
        ),
        right=called(("a", WEATHER, OSLO)),
        before="all of them, one behind the other",
    ),
    Report(
        name="Sends the arguments twice",
        source="lidge-jun/opencodex#361",
        server="OpenCodex",
        sent=answer(calls(call("shell", "", id="a"), call(None, OSLO), call(None, OSLO))),
        right=called(("a", "shell", OSLO)),
        before="both, one behind the other",
    ),
    Report(
        name="Ends with the whole call, its blanks set otherwise",
        source="elizaOS/eliza#16973",
        server="elizaOS's proxy",
        sent=answer(
            calls(
                call(WEATHER, "", id="a"),
                call(None, '{"city": "O'),
                call(None, 'slo"}'),
                call(WEATHER, OSLO, id="a"),
            )
        ),
        right=called(("a", WEATHER, '{"city": "Oslo"}')),
        before="both, one behind the other",
    ),
    Report(
        name="Sends several whole arguments for one name and index",
        source="open-webui/open-webui#22235",
        server="GPT-5.4 behind a gateway",
        sent=answer(
            calls(call("search", '{"query":"A"}', id="a"), call("search", '{"query":"B"}'))
        ),
        right=called(("a", "search", '{"query":"A"}'), (None, "search", '{"query":"B"}')),
        before="one call, its arguments those of both",
    ),
    Report(
        name="Takes the name of the tool for its id",
        source="brainlid/langchain#620",
        server="Gemini behind a gateway",
        sent=answer(calls(call(WEATHER, OSLO, id=WEATHER), call(WEATHER, PARIS, id=WEATHER))),
        right=called((WEATHER, WEATHER, OSLO), (WEATHER, WEATHER, PARIS)),
        before="one call, its arguments those of both",
    ),
    Report(
        name="Sends the whole call so far each time, without id from the second on",
        source="vllm-project/vllm#22015",
        server="MiniMax in vLLM",
        sent=answer(
            calls(
                call(WEATHER, '{"ci', id="a"),
                call(WEATHER, '{"city": "Os'),
                call(WEATHER, '{"city": "Oslo"}'),
            )
        ),
        right=called(("a", WEATHER, '{"city": "Oslo"}')),
        before="all of them, one behind the other",
    ),
    Report(
        name="Calls a function of the request's functions",
        source="can1357/oh-my-pi#1692",
        server="servers of the time before tools",
        sent=answer(
            deltas(
                {"function_call": {"name": WEATHER, "arguments": ""}},
                {"function_call": {"arguments": OSLO[:4]}},
                {"function_call": {"arguments": OSLO[4:]}},
                end=chunk({}, "function_call"),
            )
        ),
        right=Whole(
            message={
                "role": "assistant",
                "content": None,
                "function_call": {"name": WEATHER, "arguments": OSLO},
            }
        ),
        before="right",
    ),
    Report(
        name="Sends fragments side by side, without index",
        source="SamSaffron/term-llm#314",
        server="servers that leave out the index",
        sent=answer(
            calls(
                [call(WEATHER, "", id="a", index=None), call(TIME, "", id="b", index=None)],
                [call(None, OSLO, index=None), call(None, CET, index=None)],
            )
        ),
        right=called(("a", WEATHER, OSLO), ("b", TIME, CET)),
        before="the arguments of both in the last call",
    ),
    Report(
        name="Leaves out the index, and sends one call after the other",
        source="oracle/langchain-oracle#253",
        server="OCI's generative AI",
        sent=answer(
            calls(
                call(WEATHER, "", id="a", index=None),
                call(None, OSLO, index=None),
                call(TIME, "", id="b", index=None),
                call(None, CET, index=None),
            )
        ),
        right=called(("a", WEATHER, OSLO), ("b", TIME, CET)),
        before="right",
    ),
    Report(
        name="Leaves out the index, and sends the signature of a call later",
        source="open-webui/computer#224",
        server="Gemini's OpenAI mode",
        sent=answer(
            calls(
                call(WEATHER, OSLO[:5], id="a", index=None),
                call(None, OSLO[5:], index=None),
                call(index=None, extra_content={"google": {"thought_signature": SIGNATURE}}),
                end=STOP,
            )
        ),
        right=called(
            ("a", WEATHER, OSLO), extra_content={"google": {"thought_signature": SIGNATURE}}
        ),
        before="right",
    ),
    Report(
        name="Interleaves calls by their index",
        source="QwenLM/Qwen-Agent#943",
        server="OpenAI",
        sent=answer(
            calls(
                [call(WEATHER, "", id="a"), call(TIME, "", id="b", index=1)],
                call(None, CET[:4], index=1),
                call(None, OSLO[:4]),
                call(None, CET[4:], index=1),
                call(None, OSLO[4:]),
            )
        ),
        right=called(("a", WEATHER, OSLO), ("b", TIME, CET)),
        before="right",
    ),
    Report(
        name="Numbers the calls as the blocks of the message, from 1",
        source="router-for-me/CLIProxyAPI#5229",
        server="Claude behind CLIProxyAPI, Bedrock behind agentgateway",
        sent=answer(calls(call(WEATHER, OSLO, id="a", index=1), call(TIME, CET, id="b", index=3))),
        right=called(("a", WEATHER, OSLO), ("b", TIME, CET)),
        before="right",
    ),
    Report(
        name="Numbers a call -1, with an object for arguments",
        source="zai-org/GLM-4.5#17",
        server="Z.ai",
        sent=answer(calls(call("search", {"name": "x"}, id="a", index=-1))),
        right=called(("a", "search", {"name": "x"})),
        before="right",
    ),
    Report(
        name="Sends one call under several indexes",
        source="mudler/LocalAI#9722",
        server="LocalAI",
        sent=answer(
            calls(
                call("exec", "", id="a", index=0),
                call("exec", '{"cmd":"ls"}', id="a", index=1),
                call("exec", '{"cmd":"ls"}', id="a", index=2),
            )
        ),
        right=called(("a", "exec", '{"cmd":"ls"}')),
        before="three calls of one id",
    ),
    Report(
        name="Sends the name under one index and the arguments under another",
        source="danny-avila/LibreChat#13987",
        server="Bedrock behind LibreChat",
        sent=answer(
            calls(
                call(WEATHER, "", id="a", index=2),
                call(None, OSLO[:6], index=1),
                call(None, OSLO[6:], index=1),
            )
        ),
        right=called(("a", WEATHER, OSLO)),
        before="two calls, one without arguments and one without name",
    ),
    Report(
        name="Sends empty arguments under another index than their call",
        source="BerriAI/litellm#12973",
        server="Bedrock behind LiteLLM",
        sent=answer(calls(call(WEATHER, "", id="a", index=1), call(None, "{}", index=0))),
        right=called(("a", WEATHER, "{}")),
        before="two calls, one without arguments and one without name",
    ),
)


# Lists and objects -------------------------------------------------------------------------------


def thinking(text: str, signature: str | None = None) -> JSON:
    return {"type": "thinking", "thinking": text, "signature": signature}


def details(*entries: JSON) -> list[JSON]:
    return deltas(*({"reasoning_details": [entry]} for entry in entries), {"content": "Yes"})


def reasoning(**fields: Any) -> JSON:
    return {"type": "reasoning.text", **fields, "format": "anthropic-claude-v1"}


def link(url: str) -> JSON:
    return {"type": "url_citation", "url_citation": {"url": url}}


def image(data: str, **fields: Any) -> JSON:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}, **fields}


FIELDS = (
    Report(
        name="Sends a thought in pieces of one index, then its signature",
        source="agno-agi/agno#8794",
        server="OpenRouter",
        sent=answer(
            details(
                reasoning(text="I ", index=0),
                reasoning(text="see", index=0),
                reasoning(signature=SIGNATURE, index=0),
            )
        ),
        right=Whole(
            message=said(
                "Yes", reasoning_details=[reasoning(text="I see", index=0, signature=SIGNATURE)]
            )
        ),
        before="only the signature",
    ),
    Report(
        name="Sends a thought in pieces without index, then its signature",
        source="OpenRouterTeam/ai-sdk-provider#423",
        server="OpenRouter",
        sent=answer(
            details(reasoning(text="I "), reasoning(text="see"), reasoning(signature=SIGNATURE))
        ),
        right=Whole(
            message=said(
                "Yes",
                reasoning_details=[
                    reasoning(text="I "),
                    reasoning(text="see"),
                    reasoning(signature=SIGNATURE),
                ],
            )
        ),
        before="only the signature",
    ),
    Report(
        name="Numbers and names the one block of its reasoning in each piece",
        source="MiniMax-AI/MiniMax-M2#95",
        server="MiniMax with reasoning_split",
        sent=answer(
            details(
                {
                    "type": "reasoning.text",
                    "id": "reasoning-text-1",
                    "index": 0,
                    "text": "The user",
                },
                {"type": "reasoning.text", "id": "reasoning-text-1", "index": 0, "text": " asks"},
            )
        ),
        right=Whole(
            message=said(
                "Yes",
                reasoning_details=[
                    {
                        "type": "reasoning.text",
                        "id": "reasoning-text-1",
                        "index": 0,
                        "text": "The user asks",
                    }
                ],
            )
        ),
        before="only the last piece",
    ),
    Report(
        name="Sends a piece of reasoning that begins with the piece before",
        source="t8y2/dbx#6535",
        server="MiniMax in China",
        sent=answer(details(*(reasoning(text=piece, index=0) for piece in ("a", "and", "and")))),
        right=Whole(message=said("Yes", reasoning_details=[reasoning(text="aandand", index=0)])),
        before="only the last piece",
    ),
    Report(
        name="Sends one thinking block a piece, with empty signatures",
        source="BerriAI/litellm#29428",
        server="Claude behind LiteLLM",
        sent=answer(
            deltas(
                {"thinking_blocks": [thinking("Step 1. ", "")]},
                {"thinking_blocks": [thinking("Step 2.", "")]},
                {"thinking_blocks": [thinking("", SIGNATURE)]},
                {"content": "Yes"},
            )
        ),
        right=Whole(
            message=said(
                "Yes",
                thinking_blocks=[
                    thinking("Step 1. ", ""),
                    thinking("Step 2.", ""),
                    thinking("", SIGNATURE),
                ],
            )
        ),
        before="only the last block",
    ),
    Report(
        name="Ends a thought with the whole of it, signed",
        source="BerriAI/litellm#35118",
        server="Claude behind LiteLLM",
        sent=answer(
            deltas(
                {"thinking_blocks": [thinking("Step 1. ")]},
                {"thinking_blocks": [thinking("Step 2.")]},
                {"thinking_blocks": [thinking("Step 1. Step 2.", SIGNATURE)]},
                {"content": "Yes"},
            )
        ),
        right=Whole(message=said("Yes", thinking_blocks=[thinking("Step 1. Step 2.", SIGNATURE)])),
        before="right",
    ),
    Report(
        name="Sends several thoughts, one of them redacted",
        source="BerriAI/litellm#20698",
        server="Claude behind LiteLLM",
        sent=answer(
            deltas(
                {"thinking_blocks": [thinking("One.", "S1")]},
                {"thinking_blocks": [{"type": "redacted_thinking", "data": "QUJD"}]},
                {"thinking_blocks": [thinking("Two.", "S2")]},
                {"content": "Yes"},
            )
        ),
        right=Whole(
            message=said(
                "Yes",
                thinking_blocks=[
                    thinking("One.", "S1"),
                    {"type": "redacted_thinking", "data": "QUJD"},
                    thinking("Two.", "S2"),
                ],
            )
        ),
        before="only the last block",
    ),
    Report(
        name="Hides thinking blocks in a field of the provider's",
        source="BerriAI/litellm#13834",
        server="Claude behind LiteLLM",
        sent=answer(
            deltas(
                {"provider_specific_fields": {"thinking_blocks": [thinking("This")]}},
                {"provider_specific_fields": {"thinking_blocks": [thinking(" is it.")]}},
                {"provider_specific_fields": None, "content": "Yes"},
            )
        ),
        right=Whole(
            message=said(
                "Yes",
                provider_specific_fields={
                    "thinking_blocks": [thinking("This"), thinking(" is it.")]
                },
            )
        ),
        before="only the last block",
    ),
    Report(
        name="Sends reasoning_content as an object in pieces",
        source="envoyproxy/ai-gateway#1222",
        server="Bedrock behind Envoy AI Gateway",
        sent=answer(
            deltas(
                {"reasoning_content": {"text": "I "}},
                {"reasoning_content": {"text": "see"}},
                {"reasoning_content": {"signature": SIGNATURE}},
                {"content": "Yes"},
            )
        ),
        right=Whole(
            message=said("Yes", reasoning_content={"text": "I see", "signature": SIGNATURE})
        ),
        before="only the signature",
    ),
    Report(
        name="Sends reasoning under two names",
        source="vllm-project/vllm#34030",
        server="vLLM",
        sent=answer(
            deltas(
                {"reasoning": "I ", "reasoning_content": "I "},
                {"reasoning": "see", "reasoning_content": "see"},
                {"content": "Yes"},
            )
        ),
        right=Whole(message=said("Yes", reasoning="I see", reasoning_content="I see")),
        before="right",
    ),
    Report(
        name="Sends several images, one a chunk",
        source="decolua/9router#3521",
        server="Gemini behind OpenRouter and 9Router",
        sent=answer(deltas({"images": [image("QQ==")]}, {"images": [image("Qg==")]})),
        right=Whole(message=said("", images=[image("QQ=="), image("Qg==")])),
        before="only the last image",
    ),
    Report(
        name="Numbers the images",
        source="reVrost/go-openrouter#27",
        server="OpenRouter",
        sent=answer(
            deltas({"images": [image("QQ==", index=0)]}, {"images": [image("Qg==", index=1)]})
        ),
        right=Whole(message=said("", images=[image("QQ==", index=0), image("Qg==", index=1)])),
        before="only the last image",
    ),
    Report(
        name="Sends annotations with the text that they are of",
        source="openai/openai-agents-python#4252",
        server="OpenAI's search models",
        sent=answer(
            deltas(
                {"content": "Yes", "annotations": [link("https://a.example")]},
                {"annotations": [link("https://b.example")]},
            )
        ),
        right=Whole(
            message=said("Yes", annotations=[link("https://a.example"), link("https://b.example")])
        ),
        before="right",
    ),
    Report(
        name="Repeats an annotation in each chunk",
        source="laravel/ai#1012",
        server="OpenRouter",
        sent=answer(
            deltas(
                {"content": "Y", "annotations": [link("https://a.example")]},
                {"content": "es", "annotations": [link("https://a.example")]},
            )
        ),
        right=Whole(message=said("Yes", annotations=[link("https://a.example")])),
        before="the annotation twice",
    ),
    Report(
        name="Sends all annotations so far in each chunk",
        source="openai/openai-agents-js#1617",
        server="providers that search",
        sent=answer(
            deltas(
                {"content": "Y", "annotations": [link("https://a.example")]},
                {
                    "content": "es",
                    "annotations": [link("https://a.example"), link("https://b.example")],
                },
            )
        ),
        right=Whole(
            message=said("Yes", annotations=[link("https://a.example"), link("https://b.example")])
        ),
        before="the first annotation twice",
    ),
    Report(
        name="Sends the tokens of each chunk",
        source="vllm-project/vllm#27482",
        server="vLLM with return_token_ids",
        sent=answer(
            [
                {"choices": [{"index": 0, "text": "He", "token_ids": [1, 2]}]},
                {"choices": [{"index": 0, "text": "llo", "token_ids": [3]}]},
                {"choices": [{"index": 0, "text": "", "finish_reason": "stop", "token_ids": [3]}]},
            ]
        ),
        right=Whole(
            fields={
                "choices": [
                    {
                        "text": "Hello",
                        "index": 0,
                        "finish_reason": "stop",
                        "token_ids": [1, 2, 3, 3],
                    }
                ]
            }
        ),
        before="only the last tokens",
        endpoint="completions",
    ),
)


# Texts and choices -------------------------------------------------------------------------------


def part(text: str) -> JSON:
    return {"type": "text", "text": text}


def thought(text: str) -> JSON:
    return {"type": "thinking", "thinking": [part(text)]}


def summary(text: str) -> JSON:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


TEXTS = (
    Report(
        name="Sends content in parts",
        source="tashfeenahmed/freellmapi#166",
        server="providers behind a gateway",
        sent=answer(deltas({"content": [part("Hel")]}, {"content": [part("lo")]})),
        right=Whole(message=said("Hello"), text="Hello"),
        before="no text in text()",
    ),
    Report(
        name="Sends thoughts as parts of the content",
        source="symfony/ai#2422",
        server="Mistral",
        sent=answer(
            deltas(
                {"content": [thought("Hm")]},
                {"content": [thought("m.")]},
                {"content": [part("Hel")]},
                {"content": [part("lo")]},
            )
        ),
        right=Whole(message=said([thought("Hmm."), part("Hello")]), text="Hello"),  # type: ignore[arg-type]
        before="no text in text()",
    ),
    Report(
        name="Sends thoughts as parts, then plain text",
        source="openclaw/openclaw#68418",
        server="Mistral",
        sent=answer(deltas({"content": [thought("Hm.")]}, {"content": "Hel"}, {"content": "lo"})),
        right=Whole(message=said([thought("Hm."), part("Hello")]), text="Hello"),  # type: ignore[arg-type]
        before="right",
    ),
    Report(
        name="Sends a thought and text side by side",
        source="databricks/appkit#559",
        server="gpt-oss at Databricks",
        sent=answer(
            deltas({"content": [summary("Greet."), part("Hel")]}, {"content": [part("lo")]})
        ),
        right=Whole(message=said([summary("Greet."), part("Hello")]), text="Hello"),  # type: ignore[arg-type]
        before="no text in text()",
    ),
    Report(
        name="Counts the tokens in the index of the choice",
        source="huggingface/text-generation-inference#1648",
        server="Text Generation Inference",
        sent=answer(numbered(["I", "'", "m"], first=1)),
        right=Whole(messages=[said("I'm")], finish_reason="stop", text="I'm"),
        before="a choice a token",
    ),
    Report(
        name="Gives the only choice the index 1",
        source="spring-projects/spring-ai#6221",
        server="a gateway",
        sent=answer(
            [
                chunk({"role": "assistant", "content": "Hel"}, index=1),
                chunk({"content": "lo"}, "stop", index=1),
            ]
        ),
        right=Whole(messages=[said("Hello")], finish_reason="stop", text="Hello"),
        before="no text in text()",
    ),
    Report(
        name="Counts the tokens, with a message beside each delta",
        source="microsoft/foundry-local#263",
        server="Foundry Local",
        sent=answer(
            [
                {**one, "choices": [{**choice, "message": choice["delta"]}]}
                for one in numbered(["Wh", "isper"])
                for choice in one["choices"]
            ]
        ),
        right=Whole(messages=[said("Whisper")], finish_reason="stop", text="Whisper"),
        before="a choice a token",
        body={"n": 1},
    ),
    Report(
        name="Cuts an emoji in two",
        source="elizaOS/eliza#30904",
        server="servers that count UTF-16",
        sent=answer(
            [
                *escaped(*texts("a\ud83d", "\ude00b")),
                STOP,
            ]
        ),
        right=Whole(message=said("a😀b"), text="a😀b"),
        before="text that cannot be encoded",
    ),
    Report(
        name="Cuts an emoji in the reasoning and in a refusal",
        source="elie222/rakazo#416",
        server="servers that count UTF-16",
        sent=answer(
            [
                *escaped(
                    chunk({"role": "assistant", "content": "", "reasoning_content": "\ud83d"}),
                    chunk({"reasoning_content": "\ude00", "refusal": "\ud83d"}),
                    chunk({"refusal": "\ude00"}),
                ),
                STOP,
            ]
        ),
        right=Whole(
            message={
                "role": "assistant",
                "content": None,
                "reasoning_content": "😀",
                "refusal": "😀",
            }
        ),
        before="text that cannot be encoded",
    ),
    Report(
        name="Sends half an emoji",
        source="Kohaku-Lab/KohakuTerrarium#48",
        server="a provider behind OpenRouter",
        sent=answer([*escaped(*texts("a\udcaf", "b")), STOP]),
        right=Whole(text="a\ufffdb"),
        before="text that cannot be encoded",
    ),
)

ROWS: tuple[Report, ...] = (*TOOL_CALLS, *FIELDS, *TEXTS)
