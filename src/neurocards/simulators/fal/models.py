"""The image-to-video models on sale, each with the strict input and the size it is documented with.

A field that a model does not declare, or a value of the wrong type (5 for "5"), is refused as the service does it.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from neurocards.simulators.fal.errors import ERRORS_PAGE, Answer

Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Text = Annotated[str, StringConstraints(min_length=1)]
From3To15 = Literal["3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"]
From4To15 = Literal["4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"]

SHORT_SIDES = {"480p": 480, "720p": 720}


@dataclass(frozen=True)
class Wanted:
    """What a request asks for, in the same words for every model; the image decides the shape of the video.

    `images` are the first frame and, where there is one, the last, each behind the name of its field.
    """

    images: tuple[tuple[str, str], ...]
    seconds: int
    short_side: int
    sound: bool

    @property
    def units(self) -> float:
        """What a success is billed with: seconds of video."""
        return float(self.seconds)


class ModelInput(BaseModel):
    """The body of a request to one model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @abstractmethod
    def wanted(self) -> Wanted:
        """The video that is asked for."""


class Kling3Standard(ModelInput):
    prompt: Annotated[Text, Field(max_length=2500)]
    start_image_url: Url
    end_image_url: Url | None = None
    duration: From3To15 = "5"
    generate_audio: bool = True
    negative_prompt: Annotated[str, Field(max_length=2500)] | None = None
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=1)] = 0.5

    def wanted(self) -> Wanted:
        images = _images(start_image_url=self.start_image_url, end_image_url=self.end_image_url)
        return Wanted(images, int(self.duration), self.short_side(), self.generate_audio)

    def short_side(self) -> int:
        return 720


class Kling3Pro(Kling3Standard):
    def short_side(self) -> int:
        return 1080


class Seedance2(ModelInput):
    prompt: Text
    image_url: Url
    end_image_url: Url | None = None
    duration: From4To15 = "5"
    resolution: Literal["480p", "720p"] = "720p"
    generate_audio: bool = True

    def wanted(self) -> Wanted:
        images = _images(image_url=self.image_url, end_image_url=self.end_image_url)
        return Wanted(images, int(self.duration), SHORT_SIDES[self.resolution], self.generate_audio)


MODELS: dict[str, type[ModelInput]] = {
    "fal-ai/kling-video/v3/pro/image-to-video": Kling3Pro,
    "fal-ai/kling-video/v3/standard/image-to-video": Kling3Standard,
    "bytedance/seedance-2.0/image-to-video": Seedance2,
}


def app_of(model: str) -> str:
    """Owner and name: the first two parts of a model's id. What follows is a path inside the application."""
    return "/".join(model.split("/")[:2])


APPS = {app_of(model) for model in MODELS}


def read(model: type[ModelInput], fields: JsonValue) -> Wanted | Answer:
    """What the fields ask for, or the model's refusal with every complaint it has."""
    try:
        return model.model_validate(fields).wanted()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    detail: list[JsonValue] = [
        {
            "loc": ["body", *problem["loc"][:1]],
            "msg": problem["msg"],
            "type": problem["type"],
            "url": f"{ERRORS_PAGE}#{problem['type']}",
        }
        for problem in problems
    ]
    return Answer(422, {"detail": detail})


def frame_size(wanted: Wanted, image_size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the video; even, as H.264 needs them, and never longer than 1:2."""
    width, height = image_size
    ratio = min(max(width / height, 0.5), 2.0)
    long_side = round(wanted.short_side * max(ratio, 1 / ratio) / 2) * 2
    return (wanted.short_side, long_side) if ratio <= 1 else (long_side, wanted.short_side)


def _images(**urls: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((field, url) for field, url in urls.items() if url is not None)
