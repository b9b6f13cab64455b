"""Many random sellers, a shop whose processes end again and again, and trouble everywhere; then the reckoning.

When the storm is over everything must be as if it had never been: nothing waits, nobody was forgotten, the books agree
with themselves, with the store and with what Telegram saw.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from uuid import uuid4

import httpx2

from flow.crew import ROLES, Crew, environment
from flow.phones import Json, Phone, open_client
from flow.sellers import LANGUAGES, Seller
from neurocards.audit import audit
from neurocards.db import customers
from neurocards.db.books import Figures
from neurocards.db.connection import Database, Transaction
from neurocards.storage import open_store

ACTS_PER_TROUBLE = 12
LATE_SECONDS = 0.3
ANSWER_SECONDS = 20.0
SETTLING_SECONDS = 60.0

_bots = count(7_100_001)

TELEGRAM_TROUBLE: tuple[Json, ...] = (
    {"kind": "429", "method": "sendMessage", "retry_after": 1},
    {"kind": "429", "method": "sendVideo", "retry_after": 1},
    {"kind": "5xx", "method": "sendMessage"},
    {"kind": "5xx", "method": "getFile"},
    {"kind": "5xx", "method": "getUpdates"},
    {"kind": "reset", "method": "editMessageReplyMarkup"},
    {"kind": "reset", "method": "answerCallbackQuery"},
    {"kind": "drop_answer", "method": "getUpdates"},
    {"kind": "drop_answer", "method": "sendMessage"},
    {"kind": "drop_answer", "method": "sendVideo"},
    {"kind": "drop_answer", "method": "answerCallbackQuery"},
    {"kind": "delay", "method": "sendMessage", "delay_seconds": 0.5},
    {"kind": "deliver_twice", "method": "message"},
    {"kind": "deliver_twice", "method": "callback_query"},
    {"kind": "deliver_late", "method": "message", "delay_seconds": LATE_SECONDS},
    {"kind": "deliver_late", "method": "callback_query", "delay_seconds": LATE_SECONDS},
)
KIE_TROUBLE: tuple[Json, ...] = (
    {"kind": "task_fails", "fail_code": "500"},
    {"kind": "task_fails", "fail_code": "422", "fail_msg": "Your content was flagged as violating content policies"},
    {"kind": "bad_result", "variant": "truncated"},
    {"kind": "bad_result", "variant": "not_a_video"},
    {"kind": "http_500", "route": "createTask"},
    {"kind": "drop_answer", "route": "createTask"},
    {"kind": "reset", "route": "createTask"},
    {"kind": "429", "route": "recordInfo", "retry_after": 1},
    {"kind": "http_503", "route": "recordInfo"},
    {"kind": "drop_answer", "route": "upload"},
    {"kind": "reset", "route": "result"},
)
OPENAI_TROUBLE: tuple[Json, ...] = ({"kind": "refusal"}, {"kind": "http_500"}, {"kind": "drop_answer"})


@dataclass(frozen=True)
class Site:
    """Where the storm takes place: a migrated database, the simulators, and a folder for store and logs."""

    dsn: str
    telegram: str
    kie: str
    openai: str
    home: Path


@dataclass(frozen=True)
class Plan:
    """How much of everything; the seed draws the rest."""

    seed: int
    sellers: int
    acts_each: int
    restarts: int


@dataclass(frozen=True)
class Complaint:
    """Something that must not be. `trail` is what the seller it happened to did last; empty when it concerns all."""

    what: str
    trail: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([self.what, *self.trail])


@dataclass
class Outcome:
    """What the storm came to."""

    plan: Plan
    figures: Figures
    acts: Counter[str]
    ended: Counter[str]
    videos_seen: int
    videos_repeated: int
    complaints: list[Complaint] = field(default_factory=list)

    def told(self) -> str:
        """Every complaint, and how to have this storm again."""
        return "\n".join([f"seed {self.plan.seed}: {self.plan}", *map(str, self.complaints)])


async def weather(site: Site, plan: Plan, *, on_act: Callable[[], None] = lambda: None) -> Outcome:
    """Have the storm, wait until it is over, and see what is left."""
    async with _opened(site, plan) as storm:
        await storm.rage(on_act)
        return await storm.reckon()


@asynccontextmanager
async def _opened(site: Site, plan: Plan) -> AsyncIterator["Storm"]:
    token = f"{next(_bots)}:{'s' * 35}"
    surroundings = environment(
        site.home,
        DATABASE_URL=site.dsn,
        BOT_TOKEN=token,
        KIE_API_KEY="storm",
        KIE_SUBMITS="10000",
        KIE_IN_FLIGHT="10000",
        OPENAI_API_KEY="storm",
        TELEGRAM_API_URL=site.telegram,
        KIE_API_URL=site.kie,
        KIE_UPLOAD_URL=site.kie,
        OPENAI_BASE_URL=site.openai,
        LEASE_SECONDS="5",
        DOUBT_SECONDS="2",
        WELCOME_CREDITS="3",
    )
    async with (
        open_client() as client,
        Database(site.dsn) as database,
        Crew(surroundings, site.home / "logs") as crew,
    ):
        # The bot must be known to Telegram before anybody can write to it.
        (await client.get(f"{site.telegram}/bot{token}/getMe")).raise_for_status()
        await crew.start(*ROLES)
        yield Storm(site, plan, client, database, crew, token)


class Storm:
    """One storm over one shop."""

    def __init__(
        self, site: Site, plan: Plan, client: httpx2.AsyncClient, database: Database, crew: Crew, token: str
    ) -> None:
        self._site = site
        self._plan = plan
        self._client = client
        self._database = database
        self._crew = crew
        self._token = token
        self._draw = Random(plan.seed)
        self._sellers: list[Seller] = []
        self._acted = 0
        self._ended: Counter[str] = Counter()
        self._complaints: list[Complaint] = []
        self._restarting = asyncio.Lock()

    async def rage(self, on_act: Callable[[], None]) -> None:
        """All sellers at once; the shop's processes end at even distances, trouble comes all the time."""
        self._sellers = [await self._seller(number) for number in range(self._plan.sellers)]
        all_acts = self._plan.sellers * self._plan.acts_each
        ends = {all_acts * number // (self._plan.restarts + 1) for number in range(1, self._plan.restarts + 1)}
        async with asyncio.TaskGroup() as group:

            async def play(seller: Seller) -> None:
                for _ in range(self._plan.acts_each):
                    await seller.act()
                    self._acted += 1
                    on_act()
                    if self._acted in ends:
                        group.create_task(self._restart())
                    if self._acted % ACTS_PER_TROUBLE == 0:
                        group.create_task(self._trouble())

            for seller in self._sellers:
                group.create_task(play(seller))

    async def reckon(self) -> Outcome:
        """Calm the weather, let the shop finish, and look at everything."""
        await self._calm()
        await self._settle()
        await asyncio.gather(*(self._greet(seller) for seller in self._sellers))
        await self._settle()
        self._complain(*(f"the {role} has ended by itself" for role in self._crew.gone()))
        for role in ROLES:
            status = await self._crew.end(role, signal.SIGTERM)
            self._complain(*([f"the {role}, asked to end, ended with status {status}"] if status else []))
        self._complain(*self._crew.outcries())

        report = await audit(self._database, open_store(None, self._site.home))
        self._complain(*(f"audit: {one.check}: {one.subject}: {one.detail}" for one in report.violations))
        figures = report.figures
        left = {"open": figures.open, "notices": figures.notices_waiting, "dead updates": figures.updates_dead}
        self._complain(*(f"{number} {what} are left" for what, number in left.items() if number))
        videos = [await self._compare_videos(seller) for seller in self._sellers]
        return Outcome(
            plan=self._plan,
            figures=figures,
            acts=sum((seller.acts for seller in self._sellers), Counter()),
            ended=self._ended,
            videos_seen=sum(seen for seen, _ in videos),
            videos_repeated=sum(repeated for _, repeated in videos),
            complaints=self._complaints,
        )

    # The storm --------------------------------------------------------------------------------------------------

    async def _seller(self, number: int) -> Seller:
        phone = await Phone.buy(
            self._client,
            self._site.telegram,
            self._token.partition(":")[0],
            name=f"Seller {number}",
            language=self._draw.choice(LANGUAGES),
        )
        return Seller(phone, Random(self._draw.getrandbits(64)), self._give_credits)

    async def _give_credits(self, telegram_id: int, amount: int) -> None:
        """A gift, if the shop knows them already."""
        cause = f"storm:{uuid4()}"

        async def give(tx: Transaction) -> None:
            customer = await customers.find(tx, telegram_id)
            if customer is not None:
                await customers.top_up(tx, customer.id, amount=amount, funding="paid", cause=cause, reason="storm")

        await self._database.run(give)

    async def _trouble(self) -> None:
        """Order one fault of one outside service."""
        sim, faults = self._draw.choice(
            (
                (self._site.telegram, TELEGRAM_TROUBLE),
                (self._site.kie, KIE_TROUBLE),
                (self._site.openai.removesuffix("/v1"), OPENAI_TROUBLE),
            )
        )
        (await self._client.post(f"{sim}/sim/faults", json=self._draw.choice(faults))).raise_for_status()

    async def _restart(self) -> None:
        """End bot and worker, one after the other, each in one of two ways; start both anew."""
        async with self._restarting:
            for role in self._draw.sample(ROLES, len(ROLES)):
                how = self._draw.choice((signal.SIGTERM, signal.SIGKILL))
                self._ended[f"{role} by {how.name}"] += 1
                status = await self._crew.end(role, how)
                if how is signal.SIGTERM and status:
                    self._complain(f"the {role}, asked to end, ended with status {status}")
                await asyncio.sleep(self._draw.uniform(0, 0.5))
            await self._database.run(_end_leases)
            await self._crew.start(*ROLES)

    # The reckoning ----------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        for sim in (self._site.telegram, self._site.kie, self._site.openai.removesuffix("/v1")):
            (await self._client.delete(f"{sim}/sim/faults")).raise_for_status()
        await asyncio.gather(*(seller.phone.unblock() for seller in self._sellers))
        await asyncio.sleep(LATE_SECONDS)  # the last late update is on its way

    async def _settle(self) -> None:
        """Wait until nothing waits any more; pauses that the trouble has left are skipped."""
        left: Sequence[str] = ()
        try:
            async with asyncio.timeout(SETTLING_SECONDS):
                while left := await self._unfinished():
                    if self._crew.gone():
                        break
                    await self._database.run(_skip_pauses)
                    await asyncio.sleep(0.2)
        except TimeoutError:
            pass
        self._complain(*(f"never finished: {what}" for what in left))

    async def _unfinished(self) -> list[str]:
        """What still waits, at Telegram or here."""
        info = (await self._client.get(f"{self._site.telegram}/bot{self._token}/getWebhookInfo")).json()
        pending = info["result"]["pending_update_count"]
        async with self._database.transaction() as tx:
            cursor = await tx.execute(_UNFINISHED)
            return [what for (what,) in await cursor.fetchall()] + [f"{pending} updates at Telegram"] * bool(pending)

    async def _greet(self, seller: Seller) -> None:
        """Whatever has happened in a chat, /start is answered."""
        phone = seller.phone
        sent = await phone.start()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while sent and phone.last_id(from_bot=True) < sent["message_id"]:
                    await phone.look(wait_seconds=1.0)
        except TimeoutError:
            sent = None
        if sent is None:
            self._complaints.append(Complaint(f"/start of {phone.person_id} was not answered", tuple(seller.trail)))

    async def _compare_videos(self, seller: Seller) -> tuple[int, int]:
        """The videos in the chat, and how many are repeats; a video is sent again only if its sending was in doubt."""
        phone = seller.phone
        await phone.look()
        seen = {one["message_id"] for one in phone.messages if one["media"] and one["media"]["kind"] == "video"}
        async with self._database.transaction() as tx:
            cursor = await tx.execute(_DELIVERIES, {"telegram_id": phone.person_id})
            deliveries = await cursor.fetchall()
        wrong = [
            f"order {order} video {ordinal}: sent as message {message_id}, which is no video"
            for order, ordinal, message_id, _, is_first in deliveries
            if is_first and message_id not in seen
        ]
        repeats = len(seen - {message_id for _, _, message_id, _, _ in deliveries})
        doubts = sum(claims - 1 for _, _, _, claims, _ in deliveries)
        if repeats > doubts:
            wrong.append(f"{phone.person_id} got {repeats} videos more than were written down; {doubts} were in doubt")
        self._complaints += [Complaint(one, tuple(seller.trail)) for one in wrong]
        return len(seen), repeats

    def _complain(self, *whats: str) -> None:
        self._complaints += [Complaint(what) for what in whats]


_UNFINISHED = b"""
    select format('update %s of %s: %s, attempt %s, %s', id, person, state, attempt, failure)
      from updates where state in ('pending', 'handling')
    union all
    select format('job %s: %s, attempt %s, %s', id, state, attempt, failure)
      from jobs where state in ('available', 'running')
    union all
    select format('generation %s: %s', id, state) from generations where state in ('queued', 'processing')
    union all
    select format('notice %s, %s: %s, attempt %s, %s', id, kind, state, attempt, failure)
      from notices where state in ('pending', 'sending')
"""

_DELIVERIES = b"""
    select o.number, g.ordinal, n.message_id, n.lease_number, n.kind = 'video'
      from notices n
      join customers c on c.id = n.customer_id
      join generations g on g.id = n.generation_id
      join orders o on o.id = g.order_id
     where c.telegram_id = %(telegram_id)s and n.state = 'sent' and n.kind not in ('status', 'failure')
"""


async def _end_leases(tx: Transaction) -> None:
    """Everybody is dead: what they held is free now, and not in a minute."""
    for table in ("updates", "jobs", "notices"):
        await tx.execute(
            f"update {table} set lease_expires_at = clock_now() - interval '1 second'"
            " where lease_expires_at > clock_now()".encode()
        )


async def _skip_pauses(tx: Transaction) -> None:
    """Let five seconds pass at once, but not while somebody holds something: no lease may run out under its holder."""
    await tx.execute("lock table updates, jobs, notices in share row exclusive mode")
    cursor = await tx.execute(
        """
        select exists (select from updates where state = 'handling' and lease_expires_at > clock_now())
            or exists (select from jobs where lease_expires_at > clock_now())
            or exists (select from notices where lease_expires_at > clock_now())
        """
    )
    if await cursor.fetchone() == (False,):
        await tx.execute(
            "insert into clock (shift) values (interval '5 seconds')"
            " on conflict (only_row) do update set shift = clock.shift + excluded.shift"
        )
