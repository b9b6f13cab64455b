"""What providers say of themselves, looked up now and then: models on offer, prices, success, what is left on a key.

All of it is optional knowledge. A provider that does not answer, or has no such address, keeps nobody from working.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Protocol, runtime_checkable

import structlog

from neurocards.db import generations, models, provider_keys
from neurocards.db.connection import Database
from neurocards.db.models import Check
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.failures import Failure

LOOK_SECONDS = 600.0
"""How often a provider is asked."""

QUESTION_SECONDS = 15.0
QUESTION_PAUSE_SECONDS = 0.5
"""Some of these addresses refuse whoever asks quickly."""

log = structlog.get_logger()


@runtime_checkable
class Listing(Protocol):
    """A provider that says which models it offers."""

    async def listed(self) -> Mapping[str, str]:
        """The models on offer with their price in words. Raises Failure."""
        ...

    async def success_rate(self, model: str) -> float | None:
        """The share of all customers' tasks that succeeded lately; None when it is not told. Raises Failure."""
        ...


@runtime_checkable
class Account(Protocol):
    """A provider that says what is left on a key."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The labels of the keys, at least one."""
        ...

    async def balance(self, key: str) -> float:
        """What is left, in the provider's own money. Raises Failure."""
        ...


class Checks:
    """One worker's part in it: whoever comes when a look is due takes it for all."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        providers: Mapping[str, object],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`providers` are the adapters by name; what they can be asked shows in what they are."""
        self._database = database
        self._catalogue = catalogue
        self._providers = providers
        self._look_seconds = look_seconds

    async def turn(self) -> int:
        """Look up what is due; returns how many answers there were."""
        await self._database.run(models.rate)
        answers = 0
        for name, provider in self._providers.items():
            try:
                if isinstance(provider, Account):
                    answers += await self._weigh(name, provider)
                if isinstance(provider, Listing):
                    answers += await self._look(name, provider)
            except (Failure, TimeoutError) as failure:
                log.info("provider_not_checked", provider=name, failure=str(failure))
        return answers

    async def _weigh(self, name: str, provider: Account) -> int:
        """What is left on each key."""
        due = await self._database.run(
            lambda tx: provider_keys.unweighed(tx, provider.keys, older_than_seconds=self._look_seconds)
        )
        answers = 0
        for label in due:
            try:
                async with asyncio.timeout(QUESTION_SECONDS):
                    units = await provider.balance(label)
            except (Failure, TimeoutError) as failure:
                # One key that opens nothing must not hide the others, nor the models.
                log.info("key_not_weighed", provider=name, key=label, failure=str(failure))
                continue
            await self._database.run(partial(provider_keys.record_balance, label=label, units=units))
            answers += 1
        return answers

    async def _look(self, name: str, provider: Listing) -> int:
        """Whether the models are still on offer, for how much, and how often they succeed."""
        today = (await self._database.run(generations.clock)).date()
        ours = [
            model.id
            for model in self._catalogue.models.values()
            if model.provider == name and not model.is_retired(today)
        ]
        due = await self._database.run(lambda tx: models.unchecked(tx, ours, older_than_seconds=self._look_seconds))
        if not due:
            return 0
        async with asyncio.timeout(QUESTION_SECONDS):
            listed = await provider.listed()
        for model in due:
            check = Check(model, model in listed, listed.get(model), await self._success_rate(provider, model, listed))
            await self._note(check)
        return len(due)

    async def _success_rate(self, provider: Listing, model: str, listed: Mapping[str, str]) -> float | None:
        if model not in listed:
            return None
        await asyncio.sleep(QUESTION_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                return await provider.success_rate(model)
        except (Failure, TimeoutError):
            return None

    async def _note(self, check: Check) -> None:
        before = (await self._database.run(models.checks)).get(check.model)
        if not check.listed and (before is None or before.listed is not False):
            log.error("model_not_listed_any_more", model=check.model)
        if before is not None and check.price and before.price and before.price != check.price:
            log.warning("model_price_changed", model=check.model, before=before.price, now=check.price)
        await self._database.run(lambda tx: models.record_check(tx, check))
