"""How the simulated service behaves until it is told otherwise."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class KieSettings(BaseModel):
    """Everything `/sim/settings` can change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_seconds: Annotated[float, Field(ge=0)] = 2.0
    rate_limit: bool = False
    credits: Annotated[float, Field(ge=0)] = 1_000_000.0
    # None takes any key, a list only those in it.
    api_keys: list[str] | None = None
    webhook_key: str | None = None
    retired_models: list[str] = []
    # "shared" renders one clip per length and size and reuses it for every picture.
    render: Literal[True, "shared"] = True
    # Frames per second of what is rendered from now on: the fewer, the less it costs to look at.
    frame_rate: Annotated[int, Field(ge=1, le=60)] = 24


class SettingsChange(KieSettings):
    """The same, with only the fields that are to change."""

    def applied(self, settings: KieSettings) -> KieSettings:
        return settings.model_copy(update=self.model_dump(exclude_unset=True))
