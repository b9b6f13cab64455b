"""Every line that doctor can print: which check, how it stands, what is, what to do. docs/doctor.md has the same."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a part stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should look before it does not."""
    FAILED = "failed"
    """It does not work: something fails, or will when it is needed."""
    NOT_SET = "not set"
    """The shop works without it."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it stands, what is, and what to do where there is something to do."""

    check: str
    state: State
    found: str
    advice: str


@dataclass(frozen=True)
class Line:
    """A line with slots for what was found. A line without a `check` belongs to any of them."""

    check: str
    state: State
    found: str
    advice: str = ""

    def told(self, *, check: str = "", **values: object) -> Finding:
        """The line as it is printed; values are no secrets."""
        return Finding(
            self.check.format_map(values) or check,
            self.state,
            self.found.format_map(values),
            self.advice.format_map(values),
        )


OK, WARNING, FAILED, NOT_SET = State.OK, State.WARNING, State.FAILED, State.NOT_SET

# Any check ------------------------------------------------------------------------------------------------------------

TOO_SLOW = Line("", FAILED, "no answer within {seconds} s", "see whether this machine's network and disk are well")
BROKEN = Line("", FAILED, "could not be looked at: {error}", "ask doctor again; if it stays so, report it")
NOT_LOOKED_AT = Line("", WARNING, "not looked at: {first} comes first", "mend {first}, then ask doctor again")

# This machine ---------------------------------------------------------------------------------------------------------

SETTINGS_SOUND = Line("settings", OK, "{set} set, {by_default} by default")
SETTING_WRONG = Line("settings", FAILED, "{problem}", "correct it in the environment or in .env; .env.example has all")

PACKAGES_SOUND = Line("packages", OK, "{packages} packages, every file as it was installed")
PACKAGES_CHANGED = Line(
    "packages", FAILED, "{files} files are not as they were installed, {first} among them", "install anew"
)
PACKAGES_OTHER = Line("packages", WARNING, "not as in requirements.lock: {names}", "install what the lock says")

CODECS_SOUND = Line("video codecs", OK, "PyAV {version} encodes {encoders}")
CODECS_MISSING = Line(
    "video codecs", FAILED, "PyAV {version} lacks {missing}", "install PyAV from its wheel: the lock has the right one"
)

CHILDREN_SEALED = Line("media children", OK, "what strangers send is opened by a child that can reach nobody")
CHILDREN_OPEN = Line(
    "media children",
    WARNING,
    "this system has no seccomp that we know: a child that a file took over could open connections",
    "run bot and workers on Linux, on x86-64 or ARM64",
)
CHILDREN_BROKEN = Line(
    "media children",
    FAILED,
    "does not work: {error}",
    "see what the unit or the container forbids, and how many processes and how much memory it allows",
)

DISK_ROOMY = Line("disk", OK, "{place}: {free} of {total} free")
DISK_FILLING = Line(
    "disk", WARNING, "{place}: {used:.0%} used, {free} left", "make room, or keep photos and videos for a shorter time"
)
DISK_FULL = Line("disk", FAILED, "{place}: only {free} of {total} left", "make room now: the next video will not fit")
DISK_MISSING = Line("disk", FAILED, "{place}: {error}", "see NEUROCARDS_HOME: bot and workers must be able to write it")

STORE_SOUND = Line("store", OK, "{place}: wrote, read and deleted an object")
STORE_BROKEN = Line(
    "store",
    FAILED,
    "{place}: cannot {act}: {error}",
    "see STORE_URL, its keys and their rights, or the rights and room of the folder",
)

# The database ---------------------------------------------------------------------------------------------------------

DATABASE_EMBEDDED = Line(
    "database",
    NOT_SET,
    "DATABASE_URL is not set: an embedded PostgreSQL below {home}",
    "fine for one machine and a try; a shop that must not be lost sets DATABASE_URL",
)
DATABASE_SOUND = Line("database", OK, "PostgreSQL {version}, room for {processes} more processes of ours")
DATABASE_AWAY = Line("database", FAILED, "does not answer: {error}", "start PostgreSQL, or correct DATABASE_URL")
DATABASE_OLD = Line("database", FAILED, "PostgreSQL {version} is too old", "upgrade to 15 or newer")
DATABASE_READ_ONLY = Line(
    "database", FAILED, "takes no writes: it is a standby or read only", "let DATABASE_URL name the primary"
)
DATABASE_CAREFREE = Line(
    "database",
    FAILED,
    "{settings} off: a crash loses or spoils what was committed",
    "switch it on in postgresql.conf and in the settings of role and database",
)
DATABASE_UNCHECKED = Line(
    "database", WARNING, "no data checksums: a disk that lies is not noticed", "stop it and run pg_checksums --enable"
)
DATABASE_CROWDED = Line(
    "database",
    FAILED,
    "lets {usable} connections in; a bot and a worker take up to {needed}",
    "raise max_connections, or lower DATABASE_CONNECTIONS",
)
ROLE_SOUND = Line("role", OK, "{user} acts as {role}")
ROLE_BARRED = Line(
    "role",
    FAILED,
    "{user} may not act as {role}",
    "run ./neurocards migrate as a user who may create roles, or: grant {role} to {user}",
)

SCHEMA_SOUND = Line("schema", OK, "{migrations} migrations, all there are")
SCHEMA_OLD = Line("schema", FAILED, "lacks {names}", "run ./neurocards migrate")
SCHEMA_NEW = Line("schema", WARNING, "has {names}, which this version does not know", "upgrade this installation")

CLOCK_SOUND = Line("clock", OK, "within {seconds:.1f} s of {whose}")
CLOCK_OFF = Line(
    "clock",
    WARNING,
    "this machine is {seconds:.0f} s {direction} {whose}",
    "let NTP keep the time on this machine and the database's",
)
CLOCK_WRONG = Line(
    "clock",
    FAILED,
    "this machine is {seconds:.0f} s {direction} {whose}: signed callbacks are refused",
    "let NTP keep the time on this machine and the database's",
)
CLOCK_SHIFTED = Line(
    "clock", FAILED, "the shop's clock is shifted by {seconds:.0f} s", "only tests do that: delete from clock"
)
CLOCK_UNKNOWN = Line("clock", WARNING, "nobody outside told the time", "see the lines about Telegram and providers")

BOOKS_SOUND = Line("books", OK, "no violation in {orders} orders")
BOOKS_WRONG = Line("books", FAILED, "{violations} violations, {first} among them", "./neurocards audit names them")
BOOKS_LONG = Line(
    "books", WARNING, "not read to the end within {seconds} s", "let ./neurocards audit read them: it takes its time"
)

BACKUP_SOUND = Line("backup", OK, "the last verified one was restored {days:.1f} days ago")
BACKUP_OLD = Line(
    "backup",
    WARNING,
    "the last verified one was restored {days:.0f} days ago",
    "see why ./neurocards restore-check fails or is not run",
)
BACKUP_NEVER = Line(
    "backup", WARNING, "none was ever proved to be restorable", "./neurocards backup, then ./neurocards restore-check"
)

SALES_OPEN = Line("sales", OK, "orders are taken")
SALES_PAUSED = Line(
    "sales",
    WARNING,
    "paused since {since:%Y-%m-%d %H:%M} UTC by {who}: {why}",
    "after a restore run ./neurocards reconcile; else resume them when that is over: /admin in the chat",
)

# Telegram and our address ---------------------------------------------------------------------------------------------

TELEGRAM_SOUND = Line("telegram", OK, "@{username}, {id}")
TELEGRAM_NOT_SET = Line("telegram", NOT_SET, "no BOT_TOKEN: nobody was asked", "get one from @BotFather")
TELEGRAM_STRANGER = Line(
    "telegram", FAILED, "does not know this BOT_TOKEN", "get a valid one from @BotFather; the old one was revoked"
)
TELEGRAM_AWAY = Line("telegram", FAILED, "{host}: {error}", "see this machine's network, and TELEGRAM_API_URL")

WEBHOOK_POLLING = Line("updates", OK, "the bot polls; {waiting} wait")
WEBHOOK_SOUND = Line("updates", OK, "Telegram delivers to PUBLIC_URL; {waiting} wait")
WEBHOOK_WAITING = Line("updates", WARNING, "{waiting} updates wait", "see whether ./neurocards bot runs")
WEBHOOK_LEFT = Line(
    "updates",
    WARNING,
    "Telegram delivers to {host}, but PUBLIC_URL is not set",
    "start ./neurocards bot, which changes to polling; if it comes back, another bot has the token",
)
WEBHOOK_ELSEWHERE = Line(
    "updates",
    FAILED,
    "Telegram delivers to {host} and not to PUBLIC_URL",
    "start ./neurocards bot, which registers; if that does not last, another bot has the token",
)
WEBHOOK_TROUBLED = Line(
    "updates",
    WARNING,
    "Telegram had trouble at {at:%Y-%m-%d %H:%M} UTC: {error}; none wait",
    "see the proxy's log of that time",
)
WEBHOOK_STUCK = Line(
    "updates",
    FAILED,
    "Telegram cannot deliver: {error}; {waiting} wait",
    "see certificate, name and proxy of PUBLIC_URL, and whether ./neurocards bot runs",
)

PUBLIC_NOT_SET = Line(
    "public address",
    NOT_SET,
    "no PUBLIC_URL: Telegram and providers are polled",
    "nothing; with an https address news come sooner",
)
PUBLIC_SOUND = Line("public address", OK, "{host} leads to our bot")
PUBLIC_UNREACHABLE = Line(
    "public address",
    FAILED,
    "{host}: {error}",
    "see name, certificate, firewall and proxy, and whether ./neurocards bot runs",
)
PUBLIC_STRANGER = Line(
    "public address",
    FAILED,
    "somebody else answers at {host}: {answer}",
    "let the proxy pass POST /hooks/ on to HTTP_HOST and HTTP_PORT",
)
PUBLIC_OTHER_TOKEN = Line(
    "public address",
    FAILED,
    "a bot with another BOT_TOKEN answers at {host}",
    "give both processes one BOT_TOKEN, or this one a PUBLIC_URL of its own",
)

# Those who make videos and write prompts ------------------------------------------------------------------------------

PROVIDER_NOT_SET = Line(
    "{provider} key", NOT_SET, "no {setting}", "nothing; with a second company orders go on while the first is away"
)
KEY_SOUND = Line("{provider} key", OK, "{key}: {left} left, about {videos} videos")
KEY_TAKEN = Line("{provider} key", OK, "{key}: taken; what is left is not told")
KEY_LOW = Line("{provider} key", WARNING, "{key}: {left} left, about {videos} videos", "top the account up")
KEY_EMPTY = Line(
    "{provider} key", FAILED, "{key}: {left} left, one video costs {cost}", "top the account up: it makes nothing now"
)
KEY_REFUSED = Line(
    "{provider} key",
    FAILED,
    "{key}: {error}",
    "see the account: top it up, raise the key's limit, or put another key into {setting}",
)
PROVIDER_AWAY = Line(
    "{provider} key", FAILED, "{key}: {error}", "nothing, if it is away: it is tried again by itself; else see {url}"
)

MODELS_SOUND = Line("models", OK, "{preferred}; {able} profiles can be asked, {listed} of them seen on offer")
MODEL_RETIRED = Line(
    "models", WARNING, "VIDEO_MODEL {model} is retired since {since}: others stand in", "name another: docs/models.md"
)
MODEL_RETIRING = Line("models", WARNING, "{model} retires on {on}", "name another VIDEO_MODEL before, if it is the one")
MODEL_UNLISTED = Line(
    "models",
    WARNING,
    "{model} is not on offer any more: others stand in",
    "take its profile out, or name another VIDEO_MODEL: docs/models.md",
)
MODEL_KEYLESS = Line(
    "models",
    WARNING,
    "VIDEO_MODEL {model} is of {provider}, for which there is no key: others stand in",
    "set {setting}, or name another VIDEO_MODEL",
)
MODELS_UNTOLD = Line("models", WARNING, "{provider} does not say what it offers: {error}", "see the line of its key")
TEMPLATE_UNMADE = Line(
    "models",
    FAILED,
    "nobody can make {templates}: not sold",
    "set the key of another company, or write a profile: docs/models.md",
)

WRITER_NOT_SET = Line(
    "prompt writer",
    NOT_SET,
    "no OPENAI_API_KEY: each template's own text is the prompt",
    "nothing; with a key prompts fit the product better",
)
WRITER_SOUND = Line("prompt writer", OK, "{model} is on offer")
WRITER_REFUSED = Line(
    "prompt writer", FAILED, "{error}: each template's own text is the prompt", "see OPENAI_API_KEY and its account"
)
WRITER_AWAY = Line(
    "prompt writer",
    FAILED,
    "{host}: {error}: each template's own text is the prompt",
    "nothing, if it is away; else see OPENAI_BASE_URL",
)
WRITER_UNTOLD = Line(
    "prompt writer",
    WARNING,
    "{host} does not say what it offers: {error}",
    "nothing, if it has no list of models; to be sure: ./neurocards prompt … --write",
)
WRITER_UNKNOWN = Line(
    "prompt writer",
    FAILED,
    "{model} is not on offer: each template's own text is the prompt",
    "name another OPENAI_MODEL",
)
WRITER_ENDING = Line("prompt writer", WARNING, "{model} is shut down on {on}", "name another OPENAI_MODEL before")

OFF_SECONDS = 5.0
WRONG_SECONDS = 300.0
"""So old may be the signature of a callback, at KIE and at fal."""


def compared(ahead_seconds: float, whose: str) -> Finding:
    """How this machine's clock stands to another one; negative when it is behind."""
    seconds = abs(ahead_seconds)
    if seconds <= OFF_SECONDS:
        return CLOCK_SOUND.told(seconds=seconds, whose=whose)
    line = CLOCK_WRONG if seconds >= WRONG_SECONDS else CLOCK_OFF
    return line.told(seconds=seconds, direction="ahead of" if ahead_seconds > 0 else "behind", whose=whose)


LINES = tuple(value for value in list(globals().values()) if isinstance(value, Line))
"""All of them, as they stand above."""
