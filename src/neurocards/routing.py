"""Who is asked for a video, by what all workers together know: which models live, who fares well, which key has room.

The decision is `domain.routing.route`; here its facts are read, and what was learned by asking is written down.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from neurocards.db import circuits, generations, jobs, models, provider_keys
from neurocards.db.connection import Transaction
from neurocards.db.provider_keys import GoAhead, Pace, TakeTurn
from neurocards.domain.catalogue import Catalogue, Template
from neurocards.domain.circuits import subject
from neurocards.domain.failures import RATE_LIMIT_PAUSE_SECONDS, Failure, FailureKind, Scope
from neurocards.domain.generations import Attempt
from neurocards.domain.orders import Order
from neurocards.domain.routing import Choice, Nobody, Request, Route, Wait, route

BEGUN_PER_SUBMIT = 2
"""How many jobs are worked on for each submit that a key allows in its window: enough that none is left unused."""

QUEUED_SECONDS = 3.0
"""While somebody waits longer than this to submit, no more videos are begun."""

PACE_SLACK_SECONDS = 1.0
"""How much later than its intent a submit may leave: the pace of a key is kept with this much to spare."""

ANOTHER_WORKER = timedelta(seconds=5)
"""How long a job that others can do is left to them."""

SALES_PAUSE_SECONDS = 45.0
"""When nobody can be asked for so long, nothing is sold meanwhile."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Asked:
    """Whom a call goes to: the provider, the label of the key, the model."""

    provider: str
    key: str
    model: str


async def offer(tx: Transaction, catalogue: Catalogue, template: Template) -> Route:
    """Who would make a video of the template if it were ordered now; a Wait is one that sales have to wait for."""
    request = Request(template.wants, template.seconds, template.price_credits)
    now = await generations.clock(tx)
    conditions = await models.conditions(tx, catalogue.models.values())

    def at(moment: datetime) -> Route:
        return route(
            catalogue.models.values(),
            request,
            ordered=catalogue.preferred_model,
            conditions=conditions,
            now=moment,
        )

    found = at(now)
    if isinstance(found, Wait) and (found.until - now).total_seconds() < SALES_PAUSE_SECONDS:
        return at(found.until)  # over before a worker comes to it: that keeps nobody from ordering
    return found


class Router:
    """One worker's view: the providers that it has keys for, and how fast each key may be used."""

    def __init__(self, catalogue: Catalogue, keys: Mapping[str, Sequence[str]], paces: Mapping[str, Pace]) -> None:
        """`keys` are labels by provider."""
        self._catalogue = catalogue
        self._keys = keys
        self._paces = paces

    async def register(self, tx: Transaction) -> None:
        """Say which keys there are."""
        for provider, labels in self._keys.items():
            await provider_keys.register(tx, provider, labels)

    async def room(self, tx: Transaction) -> int:
        """How many videos that nobody has begun may be begun now, so that few of them wait for their submit.

        None while everybody is left alone: whoever was begun would only lose its turn, and its deadline would run.
        """
        now = await generations.clock(tx)
        conditions = await models.conditions(tx, self._catalogue.models.values(), served=self._keys)
        if all(one.is_shut(now) for one in conditions.values() if one.served):
            return 0
        waits = [await provider_keys.longest_wait(tx, labels) for labels in self._keys.values()]
        if max(waits, default=0.0) > QUEUED_SECONDS:
            return 0
        submits = sum(self._paces[provider].submits * len(labels) for provider, labels in self._keys.items())
        return max(0, BEGUN_PER_SUBMIT * submits - await jobs.running(tx))

    async def route(self, tx: Transaction, order: Order, template: Template, attempts: Sequence[Attempt]) -> Route:
        """Who is asked for a video of an order that was tried so often already.

        What this worker has no key for may be another one's work: then it waits a moment, for that one to claim it.
        """
        now = await generations.clock(tx)

        async def among(keys: Mapping[str, Collection[str]]) -> Route:
            return route(
                self._catalogue.models.values(),
                Request(template.wants, order.seconds, order.price_credits),
                ordered=order.model,
                conditions=await models.conditions(tx, self._catalogue.models.values(), served=keys),
                attempts=attempts,
                now=now,
            )

        found = await among(self._keys)
        if isinstance(found, Nobody) and not isinstance(await among(await models.named_keys(tx)), Nobody):
            return Wait(now + ANOTHER_WORKER, "another worker has the key")
        return found

    async def healthy_key(self, tx: Transaction, provider: str) -> str:
        """A key for calls that nobody counts."""
        known = await circuits.read(tx)
        labels = self._keys[provider]
        return min(labels, key=lambda label: (f"key {label}" in known, label))

    async def admit(self, tx: Transaction, choice: Choice) -> GoAhead | TakeTurn:
        """A key with which the chosen model may be asked right now. The intent must be written in this transaction.

        Of what was left alone one submit finds out for all; until then the others take their turn.
        """
        provider = choice.model.provider
        known, now = await circuits.read(tx), await generations.clock(tx)
        labels = [
            label
            for label in self._keys[provider]
            if (circuit := known.get(f"key {label}")) is None or not circuit.is_open(now)
        ]
        admitted = await provider_keys.admit(tx, labels, self._paces[provider])
        if isinstance(admitted, TakeTurn):
            return admitted
        suspects = [
            name
            for name in (f"provider {provider}", f"model {choice.model.id}", f"key {admitted.label}")
            if name in known and known[name].is_suspect
        ]
        if suspects and not await circuits.claim_probe(tx, suspects):
            return TakeTurn(1.0)
        return admitted

    async def note_failure(self, tx: Transaction, asked: Asked, failure: Failure) -> bool:
        """A call failed: whom that concerns beside this order is written down; returns whether it is left alone now."""
        if failure.kind is FailureKind.RATE_LIMITED:
            if failure.scope is Scope.KEY:
                seconds = failure.retry_after_seconds or RATE_LIMIT_PAUSE_SECONDS
                await provider_keys.rest(tx, asked.key, seconds=seconds)
            return False
        name = subject(failure.scope, provider=asked.provider, key=asked.key, model=asked.model)
        if name is None:
            if failure.kind in (FailureKind.PERMANENT, FailureKind.UNSUITED):
                # Whoever judges what is in an order is at work.
                await self.note_success(tx, asked)
            return False
        circuit, changed = await circuits.failed(tx, name, failure)
        if changed and circuit.open_until is not None:
            # An account or a key waits for a person; everything else mends itself.
            tell = log.error if failure.scope is Scope.KEY else log.warning
            tell("left_alone", subject=name, failures=circuit.failures, until=str(circuit.open_until), why=circuit.why)
        return circuit.is_suspect

    async def note_success(self, tx: Transaction, asked: Asked) -> None:
        """A submit was accepted: whatever was suspected of it is forgotten."""
        await circuits.succeeded(tx, [f"provider {asked.provider}", f"key {asked.key}", f"model {asked.model}"])
