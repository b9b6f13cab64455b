"""The environment, read once into one frozen `Settings`. A setting is a name, a default and a sentence."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from neurocards.catalogue import DEFAULT_MODEL
from neurocards.sealing import read_key


class BadSettings(Exception):
    """A setting is missing or wrong; the message has one line per problem."""


def _plain(value: object) -> object:
    """Secrets come from files and forms: what surrounds them is cut off, and nothing odd may be inside."""
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise ValueError("has a blank, a line break or a letter that no such value has")
    return stripped


def _token(value: object) -> object:
    """A bot's token: its number, a colon and a secret."""
    token = _plain(value)
    if isinstance(token, str) and token and not re.fullmatch(r"\d+:.+", token):
        raise ValueError("is no bot's token such as 123456:ABC-DEF")
    return token


def _keys(value: object) -> object:
    """One key or several, with commas between: blanks around them are cut off, none may be empty."""
    if not isinstance(value, str):
        return value
    keys = [str(_plain(key)) for key in value.split(",")]
    if not all(keys):
        raise ValueError("has a comma with no key behind or before it")
    return ",".join(keys)


def _operators(value: object) -> object:
    """Telegram ids of people, with commas between; blanks around them are cut off."""
    if not isinstance(value, str):
        return value
    ids = [one.strip() for one in value.split(",")] if value.strip() else []
    bad = [one for one in ids if not (one.isascii() and one.isdecimal() and 0 < int(one) < 2**52)]
    if bad:
        raise ValueError(f"takes Telegram ids of people with commas between, such as 1234567; {bad[0][:40]!r} is none")
    return tuple(int(one) for one in dict.fromkeys(ids))


def _seal(value: object) -> object:
    plain = _plain(value)
    if isinstance(plain, str):
        read_key(plain)
    return plain


def _public(value: str) -> str:
    """An address to which paths can be added; without TLS only on this machine, where the simulators are."""
    parts = urlsplit(value)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or "?" in value
        or "#" in value
    ):
        raise ValueError("is no address such as https://shop.example")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("must begin with https://: updates and secrets travel over it")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _collector(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is no address such as http://127.0.0.1:4318")
    return value.rstrip("/")


Collector = Annotated[str, BeforeValidator(_plain), AfterValidator(_collector)]
Secret = Annotated[SecretStr, BeforeValidator(_plain)]
Token = Annotated[SecretStr, BeforeValidator(_token)]
Keys = Annotated[SecretStr, BeforeValidator(_keys)]
Operators = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_operators)]
SealKey = Annotated[SecretStr, BeforeValidator(_seal)]
PublicUrl = Annotated[str, BeforeValidator(_plain), AfterValidator(_public)]


class Settings(BaseSettings):
    """Everything an operator can set. Environment variables win over a `.env` file in the current folder."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    bot_token: Token | None = Field(None, description="The Telegram bot's token, from @BotFather.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer. Without it an embedded server runs below NEUROCARDS_HOME."
    )
    kie_api_key: Keys | None = Field(
        None, description="The key of the KIE.ai account that makes the videos; several with commas between."
    )
    openai_api_key: Secret | None = Field(
        None, description="The key for the prompt writer. Without it each template's own text is the prompt."
    )

    fal_key: Keys | None = Field(
        None, description="The key of a fal.ai account that makes videos too; several with commas between."
    )

    public_url: PublicUrl | None = Field(
        None,
        description="The https address under which the bot is reached from outside. Without it we ask instead of"
        " being told: Telegram and KIE are polled.",
    )
    http_host: str = Field("127.0.0.1", description="Where the bot listens; a proxy with the certificate is before it.")
    http_port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="The port on which the bot listens.")
    kie_webhook_key: Secret | None = Field(
        None, description="The key with which KIE signs callbacks, if one was made at kie.ai/settings."
    )

    ops_host: str = Field(
        "127.0.0.1", description="Where health and metrics are told: to your own machines, never to the world."
    )
    ops_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        9464, description="The port for that, one of its own for each process on a machine; 0: nothing is told."
    )

    otel_exporter_otlp_endpoint: Collector | None = Field(
        None,
        description="Where traces go, one for each order: a collector of OpenTelemetry that takes OTLP over HTTP,"
        " e.g. http://127.0.0.1:4318. Without it none are made.",
    )

    telegram_api_url: str = Field("https://api.telegram.org", description="Base address of the Bot API.")
    kie_api_url: str = Field("https://api.kie.ai", description="Base address of KIE's API.")
    kie_upload_url: str = Field("https://kieai.redpandaai.co", description="Base address of KIE's file upload.")
    fal_queue_url: str = Field("https://queue.fal.run", description="Base address of fal's queue.")
    fal_rest_url: str = Field("https://rest.fal.ai", description="Base address of fal's file upload and public keys.")
    openai_base_url: str = Field("https://api.openai.com/v1", description="Base address of the prompt writer's API.")
    openai_model: str = Field("gpt-6-luna", description="The model that writes prompts.")
    openai_mode: Literal["responses", "chat"] = Field(
        "responses",
        description="How the prompt writer is asked: responses, or chat for servers that only have chat completions.",
    )
    video_model: str = Field(
        DEFAULT_MODEL,
        description="The model that makes videos where it can: an id from content/models, or auto for the cheapest.",
    )
    content_folder: Path | None = Field(
        None, description="A folder of your own with models/*.toml and templates/*.toml, beside those that come along."
    )

    neurocards_home: Path = Field(
        Path(".neurocards"), description="Folder for the embedded database, the store and temporary files."
    )
    store_url: str | None = Field(
        None,
        description="Object store for photos and videos, e.g. s3://bucket. Default: a folder in NEUROCARDS_HOME.",
    )

    backup_key: SealKey | None = Field(
        None, description="What backups are encrypted with. Keep a copy elsewhere: without it they open for nobody."
    )
    backup_folder: Path | None = Field(
        None, description="Folder for backups. Default: backups in NEUROCARDS_HOME, which dies with its disk."
    )
    backup_url: str | None = Field(
        None, description="Object store for backups instead of a folder, e.g. s3://other-bucket/neurocards."
    )
    backup_keep_days: Annotated[int, Field(ge=1)] = Field(14, description="After how many days a backup is removed.")
    photo_days: Annotated[int, Field(ge=1)] = Field(
        30, description="After how many days an ended order's photos, description and prompts are forgotten."
    )
    video_days: Annotated[int, Field(ge=1)] = Field(
        180, description="After how many days a delivered video is removed from the store."
    )
    stars_per_credit: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="What one credit is sold for, in Telegram Stars: payments that a restored database has lost are"
        " credited by it. Without it they are only listed.",
    )

    credit_usd: Annotated[float, Field(ge=0)] = Field(
        1.5, description="What one credit is sold for, in US dollars: margins are counted with it."
    )
    welcome_credits: Annotated[int, Field(ge=0)] = Field(1, description="Free credits for a new customer.")
    order_deadline_seconds: Annotated[int, Field(ge=60)] = Field(
        3600, description="A video that nobody began for so long, or that was begun so long ago, is refunded."
    )
    open_videos_per_customer: Annotated[int, Field(ge=1)] = Field(
        200, description="How many videos one customer can have in work; more are ordered when some are ready."
    )
    messages_per_second: Annotated[float, Field(gt=0, le=1000)] = Field(
        30.0, description="How many notices all chats together get within any second; Telegram takes about 30 messages."
    )
    worker_slots: Annotated[int, Field(ge=1, le=10_000)] = Field(
        100, description="Steps one worker runs at once. Waiting for a provider takes no slot."
    )
    lease_seconds: Annotated[float, Field(ge=2)] = Field(
        30.0, description="How long a worker may be silent before others take over its jobs."
    )
    doubt_seconds: Annotated[float, Field(ge=1)] = Field(
        300.0, description="How long a submit whose answer was lost waits for evidence before one more try."
    )
    kie_submits: Annotated[int, Field(ge=1)] = Field(
        20, description="How many tasks may be submitted with one key of KIE within any 10 seconds."
    )
    kie_in_flight: Annotated[int, Field(ge=1)] = Field(
        100, description="How many tasks of one key KIE may be making at once."
    )
    fal_submits: Annotated[int, Field(ge=1)] = Field(
        20, description="How many tasks may be submitted with one key of fal within any 10 seconds."
    )
    fal_in_flight: Annotated[int, Field(ge=1)] = Field(
        100, description="How many tasks of one key fal may be making at once."
    )
    operators: Operators = Field(
        (), description="Telegram ids of the people who may use /admin, with commas between. Without any nobody may."
    )
    operator_limit_credits: Annotated[int, Field(ge=0)] = Field(
        100, description="What an operator gives and pays back beyond this within a day needs another one's word."
    )
    alert_chat_id: int | None = Field(
        None, description="The chat that is told of troubles: an operator's id, or a group's, which is negative."
    )
    support: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="Where customers get help, shown to them: @name or a link. Without it nothing is promised."
    )
    database_connections: Annotated[int, Field(ge=2)] = Field(10, description="Connections one process may hold.")
    log_format: Annotated[str, Field(pattern="^(console|json)$")] = Field(
        "console", description="console for people, json for machines."
    )

    def video_keys(self) -> dict[str, list[str]]:
        """The keys of each provider that has any, by its name; raises BadSettings when none has."""
        given = {"kie": self.kie_api_key, "fal": self.fal_key}
        if not any(given.values()):
            description = type(self).model_fields["kie_api_key"].description
            raise BadSettings(f"KIE_API_KEY is not set: {description} FAL_KEY will do as well.")
        return {name: secret.get_secret_value().split(",") for name, secret in given.items() if secret is not None}

    def seal_key(self) -> bytes:
        """The key of backups; raises BadSettings with a line that makes one."""
        if self.backup_key is None:
            raise BadSettings(
                "BACKUP_KEY is not set: backups are encrypted with it. This makes one; keep a copy of it elsewhere:\n"
                '  echo "BACKUP_KEY=$(head -c 32 /dev/urandom | base64)" >> .env'
            )
        return read_key(self.backup_key.get_secret_value())

    def worker_secrets(self) -> tuple[str, dict[str, list[str]]]:
        """What a worker cannot do without: the bot's token and the video keys; raises BadSettings naming every one."""
        problems: list[str] = []
        bot_token, keys = "", dict[str, list[str]]()
        try:
            (bot_token,) = self.required("bot_token")
        except BadSettings as missing:
            problems.append(str(missing))
        try:
            keys = self.video_keys()
        except BadSettings as missing:
            problems.append(str(missing))
        if problems:
            raise BadSettings("\n".join(problems))
        return bot_token, keys

    def required(self, *names: str) -> list[str]:
        """The values of secrets that a process cannot do without; raises BadSettings naming all that are missing."""
        secrets = {name: getattr(self, name) for name in names}
        missing = [
            f"{name.upper()} is not set: {type(self).model_fields[name].description}"
            for name, secret in secrets.items()
            if not isinstance(secret, SecretStr)
        ]
        if missing:
            raise BadSettings("\n".join(missing))
        return [secret.get_secret_value() for secret in secrets.values()]


@dataclass(frozen=True)
class Reading:
    """The environment as far as it can be read: whatever is wrong has its default, and a line among the problems."""

    settings: Settings
    problems: tuple[str, ...] = ()
    wrong: frozenset[str] = frozenset()
    """The names of the settings that are wrong."""


def read_leniently() -> Reading:
    """Read what can be read; raises BadSettings only when there is a .env file that cannot be read at all."""
    try:
        return Reading(Settings())
    except ValidationError as error:
        problems = tuple(
            f"{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        wrong = frozenset(str(problem["loc"][0]) for problem in error.errors())
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f".env cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from error
    defaults: dict[str, Any] = {name: Settings.model_fields[name].default for name in wrong}  # Any: of any setting
    return Reading(Settings(**defaults), problems, wrong)


def read_settings() -> Settings:
    """Read the environment; raises BadSettings with one line per problem."""
    reading = read_leniently()
    if reading.problems:
        raise BadSettings("\n".join(reading.problems))
    return reading.settings
