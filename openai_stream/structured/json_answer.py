"""What a whole answer says where JSON was asked for: its text, or why it has none.

It reads the JSON of an answer of any endpoint, whole or as far as it has come.
"""

from __future__ import annotations

from typing import Any

import attrs

from openai_stream import strict_json
from openai_stream.errors import StructuredOutputError

from .schema import convert

__all__ = ["JSONAnswer"]

#: Why an answer ended early, in the words of either API.
_REASONS = {
    "length": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_WHY = {
    "length": "the answer was cut at a limit of tokens before its JSON was whole: allow more",
    "content_filter": "the answer was cut by a content filter before its JSON was whole",
}


@attrs.frozen(eq=False, repr=False)
class JSONAnswer:
    """The text of an answer, a refusal, and why it ended early, if it did.

    :param answer: the answer.
    """

    text: str
    refusal: str
    cut: str | None
    answer: Any

    @classmethod
    def of(cls, answer: Any) -> JSONAnswer:
        """What an answer says: choice 0 of a completion, the messages of a response.

        :param answer: has ``to_dict()``.
        """
        whole = answer.to_dict()
        texts: list[str] = []
        refusals: list[str] = []
        if isinstance(whole.get("output"), list):
            for item in whole["output"]:
                if isinstance(item, dict) and item.get("type") == "message":
                    _add_content(item.get("content"), texts, refusals)
            details = whole.get("incomplete_details")
            ended = details.get("reason") if isinstance(details, dict) else None
        else:
            choices = whole.get("choices")
            first = next((one for one in choices or () if isinstance(one, dict)), {})
            message = first.get("message")
            if isinstance(message, dict):
                _add_content(message.get("content"), texts, refusals)
                if isinstance(message.get("refusal"), str):
                    refusals.append(message["refusal"])
            elif isinstance(first.get("text"), str):
                texts.append(first["text"])
            ended = first.get("finish_reason")
        cut = _REASONS.get(ended) if isinstance(ended, str) else None
        return cls("".join(texts), "".join(refusals), cut, answer)

    def check(self, value: Any) -> None:
        """Refuse a value that may have been cut: a number that ended at a limit.

        :raises StructuredOutputError: it may.
        """
        if self.cut is not None and not isinstance(value, (dict, list)):
            raise self.error("")

    def error(self, why: str) -> StructuredOutputError:
        """The error of an answer that is not what was asked for.

        :param why: what is wrong with it, unless the answer itself says why.
        """
        reason = self.cut or "invalid"
        said = _WHY.get(reason) or f"the answer is not what was asked for: {why}"
        if self.refusal and not self.text.strip():
            reason, said = "refusal", f"the model refused: {self.refusal[:500]}"
        return StructuredOutputError(said, text=self.text, reason=reason, snapshot=self.answer)

    def parsed(self, cls: Any) -> Any:
        """The answer as an object of a class.

        :raises StructuredOutputError: it is none.
        """
        try:
            value = strict_json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise self.error(f"it is not JSON: {error}") from None
        self.check(value)
        try:
            return convert(value, cls)
        except ValueError as error:
            raise self.error(str(error)) from None


def _add_content(content: Any, texts: list[str], refusals: list[str]) -> None:
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") in ("text", "output_text") and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
            refusals.append(part["refusal"])
