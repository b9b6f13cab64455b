"""How the simulated service behaves until it is told otherwise."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from neurocards.simulators.exchange import Down

Share = Annotated[float, Field(ge=0, le=1)]


class KieSettings(BaseModel):
    """Everything `/sim/settings` can change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_seconds: Annotated[float, Field(ge=0)] = 2.0
    # Away until this is taken back: every route but those of `/sim`, while the tasks go on.
    down: Down | None = None

    # Twenty new tasks per key in any ten seconds.
    rate_limit: bool = False
    # Tasks that one key may have unfinished at once.
    max_in_flight: Annotated[int, Field(ge=1)] | None = None

    # The purse of all keys that have none of their own in `key_credits`.
    credits: Annotated[float, Field(ge=0)] = 1_000_000.0
    key_credits: dict[str, Annotated[float, Field(ge=0)]] = {}
    # A provider that keeps what a failed task has cost.
    keep_failed_credits: bool = False

    # None takes any key, a list only those in it.
    api_keys: list[str] | None = None
    # Keys that worked once, and keys whose own limit (by hour, day or in all) is reached.
    revoked_keys: list[str] = []
    limited_keys: list[str] = []
    webhook_key: str | None = None

    # Refused when a task is wanted, and still listed.
    retired_models: list[str] = []
    # Served, and no longer listed.
    unlisted_models: list[str] = []
    # What the catalogue tells of a model's last hour, as a share; of other models it tells what happened here.
    success_rates: dict[str, Share] = {}

    # "shared" renders one clip per length and size and reuses it for every picture.
    render: Literal[True, "shared"] = True
    # Frames per second of what is rendered from now on: the fewer, the less it costs to look at.
    frame_rate: Annotated[int, Field(ge=1, le=60)] = 24


class SettingsChange(KieSettings):
    """The same, with only the fields that are to change."""

    def applied(self, settings: KieSettings) -> KieSettings:
        return settings.model_copy(update=self.model_dump(exclude_unset=True))
