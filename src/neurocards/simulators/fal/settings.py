"""How the simulated service behaves until it is told otherwise."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from neurocards.simulators.exchange import Down


class FalSettings(BaseModel):
    """Everything `/sim/settings` can change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_seconds: Annotated[float, Field(ge=0)] = 2.0
    # Away until this is taken back: every route but those of `/sim`, while the tasks go on.
    down: Down | None = None
    # What the account of all keys has left, in billable units; with nothing left it is locked.
    credits: float = 1_000_000.0
    # Tasks that one key may have unfinished at once.
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    # None takes any key, a list only those in it.
    api_keys: list[str] | None = None
    # Keys that worked once.
    revoked_keys: list[str] = []
    retired_models: list[str] = []
    # The queue takes any input, and the model finds out what is wrong with it; some endpoints look at once.
    checks_input: Literal["when_made", "at_once"] = "when_made"
    webhook_pause_seconds: Annotated[float, Field(ge=0)] = 0.3
    # "shared" renders one clip per length and size and reuses it for every picture.
    render: Literal[True, "shared"] = True
    # Frames per second of what is rendered from now on: the fewer, the less it costs to look at.
    frame_rate: Annotated[int, Field(ge=1, le=60)] = 24


class SettingsChange(FalSettings):
    """The same, with only the fields that are to change."""

    def applied(self, settings: FalSettings) -> FalSettings:
        return settings.model_copy(update=self.model_dump(exclude_unset=True))
