"""The books read as a whole: what must hold of credits, generations, jobs and notices, and one order's story.

Every check is a query that finds nothing when all is well. Most of what they look for the schema refuses; they are
here because an auditor does not take the schema's word for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from neurocards.db.connection import Transaction
from neurocards.domain.bills import USD_PER_UNIT, cost_usd, is_paid, may_be_paid
from neurocards.domain.generations import AttemptState


@dataclass(frozen=True)
class Violation:
    """Something that must never be true: which check found it, about what, and the figures."""

    check: str
    subject: str
    detail: str


CHECKS: Mapping[str, str] = {
    "balance_is_sum_of_entries": """
        select a.id::text, format('balance %s, entries %s, version %s, entries counted %s',
                                  a.balance, coalesce(sum(e.delta), 0), a.version, count(e.version))
          from accounts a left join entries e on e.account_id = a.id
         group by a.id
        having a.balance <> coalesce(sum(e.delta), 0) or a.version <> count(e.version)
            or a.version <> coalesce(max(e.version), 0)
    """,
    "entries_form_a_chain": """
        select account_id::text, format('version %s: %s after %s', version, balance_after, before)
          from (select account_id, version, balance_after, delta,
                       lag(balance_after, 1, 0) over (partition by account_id order by version) as before
                  from entries) chain
         where balance_after <> before + delta
    """,
    "transfer_has_two_sides": """
        select t.id::text, format('%s entries, sum %s', count(e.version), coalesce(sum(e.delta), 0))
          from transfers t left join entries e on e.transfer_id = t.id
         group by t.id
        having count(e.version) <> 2 or sum(e.delta) <> 0 or max(e.delta) <> t.amount_credits
    """,
    "customer_sums_to_zero": """
        select customer_id::text, format('sum %s', sum(balance))
          from accounts group by customer_id having sum(balance) <> 0
    """,
    "never_overdrawn": """
        select id::text, format('%s/%s: %s', kind, funding, balance)
          from accounts where case when kind = 'issued' then balance > 0 else balance < 0 end
    """,
    "held_is_price_of_open_generations": """
        select a.customer_id::text, format('held %s, open generations %s', a.held, coalesce(g.open, 0))
          from (select customer_id, sum(balance) as held from accounts where kind = 'held' group by customer_id) a
          left join (select customer_id, sum(price_credits) as open from generations
                      where state in ('queued', 'processing') group by customer_id) g using (customer_id)
         where a.held <> coalesce(g.open, 0)
    """,
    "order_has_its_generations": """
        select o.id::text, format('ordered %s, generations %s, jobs %s', o.count, count(g.id), count(j.id))
          from orders o
          left join generations g on g.order_id = o.id
          left join jobs j on j.kind = 'generation' and j.subject_id = g.id
         group by o.id
        having count(g.id) <> o.count or count(j.id) <> o.count
    """,
    "generation_credits_match_its_state": """
        select g.id::text, format('%s: held %s, settled %s, refunded %s, reversed %s of %s',
                                  g.state, t.held, t.settled, t.refunded, t.reversed, g.price_credits)
          from generations g
          cross join lateral (
              select coalesce(sum(amount_credits) filter (where kind = 'hold'), 0) as held,
                     coalesce(sum(amount_credits) filter (where kind = 'settle'), 0) as settled,
                     coalesce(sum(amount_credits) filter (where kind = 'refund'), 0) as refunded,
                     coalesce(sum(amount_credits) filter (where kind = 'reversal'), 0) as reversed
                from transfers where generation_id = g.id) t
         where t.held <> g.price_credits
            or t.settled - t.reversed <> case when g.state = 'completed' then g.price_credits else 0 end
            or t.refunded + t.reversed
               <> case when g.state in ('failed', 'cancelled') then g.price_credits else 0 end
    """,
    "refund_returns_to_its_source": """
        select r.id::text, format('%s %s %s ends %s %s %s', r.kind, r.funding, r.amount_credits,
                                  h.kind, h.funding, h.amount_credits)
          from transfers r join transfers h on h.id = r.ends_id
         where (h.kind, h.generation_id, h.funding, h.amount_credits)
               is distinct from (case r.kind when 'reversal' then 'settle' else 'hold' end,
                                 r.generation_id, r.funding, r.amount_credits)
    """,
    "job_ends_with_its_generation": """
        select g.id::text, format('generation %s, job %s', g.state, j.state)
          from generations g join jobs j on j.kind = 'generation' and j.subject_id = g.id
         where (g.state in ('queued', 'processing')) <> (j.state in ('available', 'running'))
            or (g.state = 'completed' and j.state <> 'completed')
    """,
    "ended_generation_has_one_final_notice": """
        select g.id::text, format('%s: %s final notices', g.state, count(n.id))
          from generations g
          left join notices n on n.generation_id = g.id
               and n.kind = case g.state when 'completed' then 'video' else 'failure' end
         group by g.id
        having count(n.id) <> case when g.state in ('queued', 'processing') then 0 else 1 end
    """,
    "completed_generation_has_a_result": """
        select g.id::text, format('%s succeeded attempts', count(a.id))
          from generations g left join attempts a on a.generation_id = g.id and a.state = 'succeeded'
         where g.state = 'completed'
         group by g.id having count(a.id) <> 1
    """,
    "no_attempt_lives_after_its_generation": """
        select a.id::text, format('attempt %s, generation %s', a.state, g.state)
          from attempts a join generations g on g.id = a.generation_id
         where (a.state in ('intent', 'unknown', 'accepted')) and g.state not in ('queued', 'processing')
    """,
    "one_attempt_lives_at_most": """
        select generation_id::text, format('%s live attempts', count(*))
          from attempts where state in ('intent', 'unknown', 'accepted', 'succeeded')
         group by generation_id having count(*) > 1
    """,
    "task_belongs_to_one_attempt": """
        select min(id::text), format('%s task %s has %s attempts', provider, task_id, count(*))
          from attempts where task_id is not null group by provider, task_id having count(*) > 1
    """,
    "work_has_a_lease": """
        select id::text, format('job %s, lease until %s', state, lease_expires_at)
          from jobs where (state = 'running') <> (lease_owner is not null and lease_expires_at is not null)
        union all
        select id::text, format('notice %s, lease until %s', state, lease_expires_at)
          from notices where (state = 'sending') <> (lease_expires_at is not null)
        union all
        select id::text, format('update %s, lease until %s', state, lease_expires_at)
          from updates where (state = 'handling') <> (lease_expires_at is not null)
    """,
    "job_has_three_retries": """
        select id::text, format('attempt %s', attempt) from jobs where attempt not between 1 and 4
    """,
    "no_generation_is_overdue": """
        select id::text, format('deadline was %s', deadline_at)
          from generations
         where state in ('queued', 'processing') and deadline_at < clock_now() - interval '5 minutes'
    """,
}


async def violations(tx: Transaction) -> list[Violation]:
    """Everything that must not be; an empty list when the books are right."""
    # One snapshot for all checks, or a transfer between two queries would look like a theft.
    await tx.execute("set transaction isolation level repeatable read, read only")
    # Books grow; nobody waits for an audit.
    await tx.execute("set local statement_timeout = 0")
    found = []
    for check, query in CHECKS.items():
        cursor = await tx.execute(query.encode())
        found += [Violation(check, subject, detail) for subject, detail in await cursor.fetchall()]
    return found


@dataclass(frozen=True)
class Figures:
    """The size of the books: what the audit looked at. Credits are whole credits."""

    customers: int
    orders: int
    generations: int
    completed: int
    failed: int
    cancelled: int
    open: int
    transfers: int
    issued_credits: int
    available_credits: int
    held_credits: int
    spent_credits: int
    notices_waiting: int
    notices_undeliverable: int
    notices_repeated: int
    """Sent again because nobody knows whether Telegram took them: how often in all."""
    attempts: int
    attempts_abandoned: int
    """Submits whose answer was lost and never found: each may have cost us a task."""
    attempts_orphaned: int
    """Tasks that were accepted and that nobody needs: each has cost us."""
    updates_dead: int


async def figures(tx: Transaction) -> Figures:
    """Count everything once."""
    cursor = tx.cursor(row_factory=class_row(Figures))
    await cursor.execute(
        """
        select (select count(*) from customers) as customers,
               (select count(*) from orders) as orders,
               g.*,
               (select count(*) from transfers) as transfers,
               a.*,
               (select count(*) from notices where state in ('pending', 'sending')) as notices_waiting,
               (select count(*) from notices where state = 'undeliverable') as notices_undeliverable,
               (select coalesce(sum(repeats), 0) from notices where repeats > 0) as notices_repeated,
               (select count(*) from attempts) as attempts,
               (select count(*) from attempts where state = 'abandoned') as attempts_abandoned,
               (select count(*) from attempts where state = 'orphaned') as attempts_orphaned,
               (select count(*) from updates where state = 'dead') as updates_dead
          from (select count(*) as generations,
                       count(*) filter (where state = 'completed') as completed,
                       count(*) filter (where state = 'failed') as failed,
                       count(*) filter (where state = 'cancelled') as cancelled,
                       count(*) filter (where state in ('queued', 'processing')) as open
                  from generations) g,
               (select coalesce(-sum(balance) filter (where kind = 'issued'), 0)::bigint as issued_credits,
                       coalesce(sum(balance) filter (where kind = 'available'), 0)::bigint as available_credits,
                       coalesce(sum(balance) filter (where kind = 'held'), 0)::bigint as held_credits,
                       coalesce(sum(balance) filter (where kind = 'spent'), 0)::bigint as spent_credits
                  from accounts) a
        """
    )
    counted = await cursor.fetchone()
    if counted is None:
        raise LookupError("the books could not be counted")
    return counted


@dataclass(frozen=True)
class Fared:
    """How the orders of some people ended."""

    delivered: int
    refunded: int
    settled_credits: int
    refunded_credits: int


async def fared(tx: Transaction, telegram_ids: Sequence[int]) -> Fared:
    """Count the ends of these people's videos; delivered means that Telegram has taken the video."""
    cursor = tx.cursor(row_factory=class_row(Fared))
    await cursor.execute(
        """
        select count(*) filter (where g.file_id is not null) as delivered,
               count(*) filter (where g.state in ('failed', 'cancelled')) as refunded,
               coalesce(sum(g.price_credits) filter (where g.state = 'completed'), 0)::bigint as settled_credits,
               coalesce(sum(g.price_credits) filter (where g.state in ('failed', 'cancelled')), 0)::bigint
                   as refunded_credits
          from generations g join customers c on c.id = g.customer_id
         where c.telegram_id = any(%s)
        """,
        [list(telegram_ids)],
    )
    counted = await cursor.fetchone()
    if counted is None:
        raise LookupError("the books could not be counted")
    return counted


async def stored_keys(tx: Transaction, *, after: UUID | None, limit: int = 500) -> Sequence[tuple[UUID, str, int]]:
    """Videos that customers paid for and that are kept: generation, key and size in bytes, page by page."""
    cursor = await tx.execute(
        "select id, video_key, size_bytes from generations"
        " where state = 'completed' and forgotten_at is null and (%(after)s::uuid is null or id > %(after)s)"
        " order by id limit %(limit)s",
        {"after": after, "limit": limit},
    )
    return await cursor.fetchall()


@dataclass(frozen=True)
class Event:
    """One thing that happened to an order."""

    at: datetime
    what: str
    detail: str


async def story(tx: Transaction, order_id: UUID) -> list[Event]:
    """Everything on record about one order, in the order in which it happened."""
    cursor = tx.cursor(row_factory=class_row(Event))
    await cursor.execute(
        """
        select at, what, coalesce(detail, '') as detail from (
            select placed_at as at, 0 as rank, 'order placed' as what,
                   format('number %%s, %%s × %%s, %%s credits each', number, count, template, price_credits) as detail
              from orders where id = %(order_id)s
            union all
            select t.created_at, 1, 'credits ' || t.kind,
                   format('video %%s: %%s %%s, %%s → %%s',
                          g.ordinal, t.amount_credits, t.funding, t.from_kind, t.to_kind)
              from transfers t join generations g on g.id = t.generation_id where g.order_id = %(order_id)s
            union all
            select a.created_at, 2, 'attempt intended',
                   concat_ws(', ', format('video %%s: attempt %%s, %%s %%s', g.ordinal, a.number, a.provider, a.model),
                             nullif(a.reason, ''), 'key ' || nullif(a.key, ''),
                             'list price $' || to_char(a.cost_usd, 'FM999990.0099'))
              from attempts a join generations g on g.id = a.generation_id where g.order_id = %(order_id)s
            union all
            select a.accepted_at, 3, 'attempt accepted', format('video %%s: task %%s', g.ordinal, a.task_id)
              from attempts a join generations g on g.id = a.generation_id
             where g.order_id = %(order_id)s and a.accepted_at is not null
            union all
            select a.ended_at, 4, 'attempt ' || a.state,
                   concat_ws(', ', format('video %%s: %%s', g.ordinal, coalesce(a.failure, 'result ready')),
                             a.provider || ' charged ' || trim_scale(a.cost_units) || ' units'
                                 || coalesce(to_char(a.cost_units * (%(usd_per_unit)s ->> a.provider)::numeric,
                                                     '" ($"FM999990.0099")"'), ''))
              from attempts a join generations g on g.id = a.generation_id
             where g.order_id = %(order_id)s and a.ended_at is not null
            union all
            select g.finished_at, 5, 'video ' || g.state,
                   format('video %%s: %%s', g.ordinal, coalesce(g.failure, format(
                       '%%s×%%s, %%s s, %%s bytes, prompt by %%s', g.width, g.height, round(g.seconds::numeric, 1),
                       g.size_bytes, g.prompt_source)))
              from generations g where g.order_id = %(order_id)s and g.finished_at is not null
            union all
            select coalesce(n.sent_at, n.created_at), 6, format('notice %%s', n.state),
                   concat_ws(' ', n.kind, n.stage, 'message ' || n.message_id, n.failure,
                             case when n.repeats > 0 then format('(sent again %%s times)', n.repeats) end)
              from notices n where n.order_id = %(order_id)s
        ) events
        order by at, rank
        """,
        {"order_id": order_id, "usd_per_unit": Jsonb(dict(USD_PER_UNIT))},
    )
    return await cursor.fetchall()


@dataclass(frozen=True)
class Margin:
    """What an order brings and what it cost, in US dollars.

    `spent_credits` are those of its finished videos, of which `free_credits` were a gift: counted alike. `cost_usd` is
    what its attempts were charged, `doubtful_usd` what may have been paid beside that, without anybody knowing.
    """

    spent_credits: int
    free_credits: int
    income_usd: float
    cost_usd: float
    doubtful_usd: float
    unpriced: int
    """Attempts that were or may have been paid, and of which no price is known: they are not in it."""

    @property
    def margin_usd(self) -> float:
        return self.income_usd - self.cost_usd


async def margin(tx: Transaction, order_id: UUID, *, credit_usd: float) -> Margin:
    """What is left of an order when a credit was sold for so much."""
    cursor = await tx.execute(
        """
        select coalesce(sum(case t.kind when 'settle' then t.amount_credits else -t.amount_credits end), 0)::bigint,
               coalesce(sum(case t.kind when 'settle' then t.amount_credits else -t.amount_credits end)
                            filter (where t.funding = 'free'), 0)::bigint
          from transfers t join generations g on g.id = t.generation_id
         where g.order_id = %s and t.kind in ('settle', 'reversal')
        """,
        [order_id],
    )
    spent = await cursor.fetchone()
    if spent is None:
        raise LookupError("the books could not be counted")
    cursor = await tx.execute(
        """
        select a.provider, a.state, a.cost_usd::double precision, a.cost_units::double precision
          from attempts a join generations g on g.id = a.generation_id
         where g.order_id = %s
        """,
        [order_id],
    )
    paid, doubtful, unpriced = 0.0, 0.0, 0
    for provider, name, list_usd, units in await cursor.fetchall():
        state = AttemptState(name)
        if not is_paid(state, units=units) and not may_be_paid(state):
            continue
        cost = cost_usd(provider, units=units, list_usd=list_usd)
        if cost is None:
            unpriced += 1
        elif is_paid(state, units=units):
            paid += cost
        else:
            doubtful += cost
    return Margin(spent[0], spent[1], spent[0] * credit_usd, paid, doubtful, unpriced)
