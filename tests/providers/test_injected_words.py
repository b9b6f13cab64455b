"""Sellers who command the prompt writer, and a writer that obeys them: nothing of it is obeyed by anybody else."""

import json

from injections import INJECTIONS
from neurocards.domain.failures import Failure
from neurocards.providers.openai_writer import Mode
from neurocards.providers.writing import INSTRUCTIONS
from providers.desk import Desk, both_ways
from providers.prompts import commission, why_not


@both_ways
async def test_t09_injections_change_neither_the_request_nor_what_may_be_sent(desk: Desk, mode: Mode) -> None:
    assert len(INJECTIONS) >= 200
    tried = INJECTIONS if mode == "responses" else INJECTIONS[::7]
    await desk.fault(kind="obey", times=len(tried))
    writer = desk.writer(mode)
    used, refused = 0, 0
    for injection in tried:
        wanted = commission(description=injection.description, wishes=injection.wishes)
        try:
            written = await desk.write(writer, wanted)
        except Failure:
            refused += 1
            continue
        used += 1
        assert why_not(written, wanted) is None, injection.name
    assert used + refused == len(tried)
    # Most demands are in words that may not be sent; the few others are words about a picture, and do no harm there.
    assert refused > 4 * used, (used, refused)

    bodies = [request["body"] for request in await desk.requests()]
    assert len(bodies) == len(tried)
    questions = [_take_question(body, mode) for body in bodies]
    # Without the question all requests are the same, byte for byte: model, instructions, shape, what is stored.
    assert len({json.dumps(body, sort_keys=True) for body in bodies}) == 1
    assert INSTRUCTIONS in (bodies[0].get("instructions"), bodies[0].get("messages", [{}])[0].get("content"))
    heads = set()
    for injection, question in zip(tried, questions, strict=True):
        *head, opening, quoted, closing = question.split("\n")
        heads.add("\n".join(head))
        assert (opening, closing, question.count("<")) == ("<seller>", "</seller>", 2), injection.name
        assert _visible(injection.description) == json.loads(quoted)["product"]
        assert _visible(injection.wishes) == json.loads(quoted)["wishes"]
    assert len(heads) == 1


def _take_question(body: dict[str, object], mode: Mode) -> str:
    entries = body["input" if mode == "responses" else "messages"]
    assert isinstance(entries, list)
    part = entries[-1]["content"][0]
    text = part["text"]
    part["text"] = ""
    assert isinstance(text, str)
    return text


def _visible(text: str) -> str:
    return "".join(letter for letter in text if letter not in "\u202e\u200b\U000e0049\U000e0047\U000e004e")
