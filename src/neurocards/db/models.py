"""What is known of each model at this moment: what its provider says of it, and how it has fared with us."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from neurocards.db import circuits
from neurocards.db.connection import Transaction
from neurocards.db.provider_keys import SEEN_MINUTES
from neurocards.domain.catalogue import Model
from neurocards.domain.circuits import Circuit
from neurocards.domain.routing import Condition

ENOUGH_TRIES = 10
"""So many of our own attempts say more than the provider's own figures."""


@dataclass(frozen=True)
class Check:
    """What a provider said of one of its models; None of what it did not say."""

    model: str
    listed: bool | None
    price: str | None
    success_rate: float | None
    own_rate: float | None = None
    checked_at: datetime | None = None


async def record_check(tx: Transaction, check: Check) -> None:
    """Remember what a provider said of a model."""
    # Its words are a stranger's: a zero byte is no reason to end the process.
    price = check.price.replace("\0", "") if check.price is not None else None
    await tx.execute(
        """
        insert into model_checks (model, listed, price, success_rate) values (%s, %s, %s, %s)
        on conflict (model) do update
           set listed = excluded.listed, price = excluded.price, success_rate = excluded.success_rate,
               checked_at = clock_now()
        """,
        [check.model, check.listed, price, check.success_rate],
    )


async def checks(tx: Transaction) -> dict[str, Check]:
    """What providers have said, by model."""
    cursor = tx.cursor(row_factory=class_row(Check))
    await cursor.execute("select model, listed, price, success_rate, own_rate, checked_at from model_checks")
    return {check.model: check for check in await cursor.fetchall()}


async def unchecked(tx: Transaction, among: Collection[str], *, older_than_seconds: float) -> list[str]:
    """The models that nobody has asked about for so long."""
    cursor = await tx.execute(
        """
        select model from unnest(%s::text[]) model
         where not exists (select from model_checks c
                            where c.model = model.model and c.listed is not null
                              and c.checked_at > clock_now() - make_interval(secs => %s))
         order by model
        """,
        [list(among), older_than_seconds],
    )
    return [model for (model,) in await cursor.fetchall()]


async def conditions(
    tx: Transaction, models: Iterable[Model], *, served: Mapping[str, Collection[str]] | None = None
) -> dict[str, Condition]:
    """How each model fares now, for somebody with these keys (labels by provider).

    Without: for all workers together, by the keys that they have named lately. While none has, all models are taken
    to be served: orders wait for the workers.
    """
    keys = await named_keys(tx) if served is None else served
    known = await circuits.read(tx)
    told = await checks(tx)
    providers = None if served is None and not keys else keys.keys()
    return {
        model.id: _condition(
            model,
            known=known,
            keys=keys.get(model.provider, []),
            served=providers is None or model.provider in providers,
            check=told.get(model.id),
        )
        for model in models
    }


def _condition(
    model: Model,
    *,
    known: Mapping[str, Circuit],
    keys: Collection[str],
    served: bool,
    check: Check | None,
) -> Condition:
    shut = [known.get(f"provider {model.provider}"), known.get(f"model {model.id}")]
    of_keys = [known.get(f"key {label}") for label in keys]
    # A key that works is enough; when none does, the first that may again counts.
    if keys and all(one is not None and one.open_until is not None for one in of_keys):
        shut.append(min((one for one in of_keys if one is not None), key=_open_until))
    latest = max((one for one in shut if one is not None and one.open_until is not None), key=_open_until, default=None)
    return Condition(
        served=served,
        listed=check is None or check.listed is not False,
        open_until=latest.open_until if latest else None,
        why=latest.why if latest else "",
        success_rate=_known_rate(check),
    )


def _known_rate(check: Check | None) -> float | None:
    if check is None:
        return None
    return check.success_rate if check.own_rate is None else check.own_rate


def _open_until(circuit: Circuit) -> datetime:
    if circuit.open_until is None:
        raise ValueError(f"{circuit.subject} was never left alone")
    return circuit.open_until


async def named_keys(tx: Transaction) -> Mapping[str, Collection[str]]:
    """The keys that workers have named lately, by provider."""
    cursor = await tx.execute(
        "select provider, label from provider_keys where seen_at > clock_now() - make_interval(mins => %s)"
        " order by label",
        [SEEN_MINUTES],
    )
    found: dict[str, list[str]] = {}
    for provider, label in await cursor.fetchall():
        found.setdefault(provider, []).append(label)
    return found


async def rate(tx: Transaction) -> int:
    """Work out the share of our own last attempts that brought a video, by model; returns for how many models.

    Done now and then, because every order asks for it.
    """
    cursor = await tx.execute(
        """
        with lately as (
            select model, state from attempts
             where state in ('succeeded', 'failed') and ended_at > clock_now() - interval '6 hours'
               -- What was refused for what is in it says nothing of the model.
               and (state = 'succeeded' or failure_kind is distinct from 'permanent'
                    and failure_kind is distinct from 'unsuited')
             order by ended_at desc limit 2000
        ), rated as (
            select model, case when count(*) >= %s then avg((state = 'succeeded')::int)::double precision end as share
              from lately group by model
        )
        insert into model_checks (model, own_rate)
        select model, share from rated
        union all
        -- Whose tries are all too old has another chance: nobody orders of a model that fails, so nothing new comes in.
        select model, null from model_checks
         where own_rate is not null and model not in (select model from rated)
        on conflict (model) do update set own_rate = excluded.own_rate
         where model_checks.own_rate is distinct from excluded.own_rate
        """,
        [ENOUGH_TRIES],
    )
    return cursor.rowcount
