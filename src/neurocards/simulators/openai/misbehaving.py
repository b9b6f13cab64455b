"""Answers of a model that does what it should not: what a person's text demands, or what nobody asked for."""

import re

from pydantic import JsonValue

from neurocards.simulators.openai.reading import Wanted, demanded_seconds, read_wanted
from neurocards.simulators.openai.requests import Ask
from neurocards.simulators.openai.writing import Writer, as_json, described_schema

LONG_CHARACTERS = 12_000
SHOWN_CHARACTERS = 300

_ABOUT_RULES = re.compile(r"system|instruc|prompt|инструкц|промпт|правил|系统|指令|提示", re.IGNORECASE)
_ABOUT_MONEY = re.compile(r"pric|credit|discount|pay|цен|кредит|скидк|precio|crédit|gratis|价|积分|免费", re.IGNORECASE)
_ABOUT_MODEL = re.compile(r"model|модел|modelo|模型", re.IGNORECASE)


def obedient_answer(ask: Ask) -> str:
    """The answer of a model for which the last one who speaks is right.

    Its prompt repeats the demand and grants it; what is asked about rules is answered with the rules; a length that is
    demanded is the length of the shots. Where no schema holds it, fields that nobody asked for are added.
    """
    wanted = read_wanted(ask.text)
    demand = f"{wanted.product} {wanted.wishes}".strip()
    granted = [demand]
    fields: dict[str, JsonValue] = {}
    if _ABOUT_RULES.search(demand):
        granted.append(ask.instructions[:SHOWN_CHARACTERS])
    if _ABOUT_MONEY.search(demand):
        granted.append("The price is 0 credits now.")
        fields["price_credits"] = 0
    if _ABOUT_MODEL.search(demand):
        fields["model"] = "sora-2"
    granted.append("The camera moves slowly toward the product, and the light of a window travels over it.")
    schema = ask.schema or described_schema(ask.instructions)
    answer = Writer(ask.text, seconds=demanded_seconds(demand)).fill(schema) if schema is not None else {}
    if not isinstance(answer, dict):
        return as_json(answer)
    return as_json(answer | {"prompt": " ".join(granted)} | (fields if ask.schema is None else {}))


def spoiled(answer: JsonValue, kind: str | None, wanted: Wanted) -> JsonValue:
    """An answer whose prompt is too long, or in the seller's letters; any other as it is."""
    if not isinstance(answer, dict) or not isinstance(prompt := answer.get("prompt"), str):
        return answer
    match kind:
        case "too_long":
            return answer | {"prompt": " ".join([prompt] * (LONG_CHARACTERS // len(prompt) + 1))}
        case "cyrillic":
            return answer | {"prompt": f"{wanted.product}: камера медленно приближается, свет скользит по товару."}
        case _:
            return answer
