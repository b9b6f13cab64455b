"""The image-to-video models on sale, each with the strict input, the size and the price it is documented with.

A field that a model does not declare, or a value of the wrong type ("5" for 5), is refused as the service does it.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Text = Annotated[str, StringConstraints(min_length=1)]
OneUrl = Annotated[list[Url], Field(min_length=1, max_length=1)]
UpTo15 = Literal["3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"]
Shots = list[dict[str, JsonValue]]

SHORT_SIDES = {
    "480p": 480,
    "720p": 720,
    "768p": 768,
    "1080p": 1080,
    "2k": 1440,
    "4k": 2160,
}


class BadInput(Exception):
    """The input does not fit the model; `code` and `msg` are what the service answers."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


@dataclass(frozen=True)
class Wanted:
    """What a request asks for, in the same words for every model; `aspect` None takes that of the image."""

    image_url: str
    seconds: int
    short_side: int
    price_credits: float
    aspect: str | None = None
    sound: bool = True


class ModelInput(BaseModel):
    """The `input` object of one model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @abstractmethod
    def wanted(self) -> Wanted:
        """The video that is asked for."""


class KlingTurbo(ModelInput):
    prompt: Annotated[Text, Field(max_length=2500)] | None = None
    image_urls: OneUrl
    duration: UpTo15 = "5"
    resolution: Literal["720p", "1080p"] = "720p"

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        rate = {"720p": 18, "1080p": 22.5}[self.resolution]
        return Wanted(self.image_urls[0], seconds, SHORT_SIDES[self.resolution], rate * seconds)


class Kling3(ModelInput):
    prompt: Text | None = None
    image_urls: Annotated[list[Url], Field(min_length=1, max_length=2)]
    sound: bool
    mode: Literal["std", "pro", "4K"]
    duration: UpTo15
    multi_shots: bool
    multi_prompt: Shots | None = None
    kling_elements: Shots | None = None
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        side, silent, with_sound = {"std": (720, 14, 20), "pro": (1080, 18, 27), "4K": (2160, 67, 67)}[self.mode]
        rate = with_sound if self.sound else silent
        # The image's own shape wins over aspect_ratio.
        return Wanted(self.image_urls[0], seconds, side, rate * seconds, sound=self.sound)


class Kling3Omni(ModelInput):
    prompt: Text | None = None
    image_urls: Annotated[list[Url], Field(min_length=1)]
    audio: bool = False
    duration: Annotated[int, Field(ge=3, le=15)] | UpTo15 = "5"
    resolution: Literal["720p", "1080p", "4K"] = "720p"
    aspect_ratio: Literal["auto", "16:9", "9:16", "1:1"] = "auto"
    customize_multi_shots: bool = False
    prefer_multi_shots: bool = False

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        silent, with_sound = {"720p": (14, 18), "1080p": (18, 23), "4K": (67, 67)}[self.resolution]
        return Wanted(
            self.image_urls[0],
            seconds,
            SHORT_SIDES[self.resolution.lower()],
            (with_sound if self.audio else silent) * seconds,
            aspect=_explicit(self.aspect_ratio),
            sound=self.audio,
        )


class Kling26(ModelInput):
    prompt: Annotated[Text, Field(max_length=1000)]
    image_urls: OneUrl
    sound: bool
    duration: Literal["5", "10"]

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        return Wanted(self.image_urls[0], seconds, 720, (22 if self.sound else 11) * seconds, sound=self.sound)


class MinimaxH3(ModelInput):
    prompt: Text | None = None
    first_frame_url: Url
    last_frame_url: Url | None = None
    duration: Annotated[int, Field(ge=4, le=15)] = 6
    resolution: Literal["768P", "2K"] = "768P"

    def wanted(self) -> Wanted:
        rate = {"768P": 8, "2K": 13}[self.resolution]
        return Wanted(self.first_frame_url, self.duration, SHORT_SIDES[self.resolution.lower()], rate * self.duration)


class Wan30(ModelInput):
    prompt: Annotated[Text, Field(max_length=20_000)] | None = None
    first_frame_url: Url
    last_frame_url: Url | None = None
    duration: Literal[-1] | Annotated[int, Field(ge=2, le=30)] = 5
    resolution: Literal["480P", "720P", "1080P"] = "1080P"
    aspect_ratio: Literal["adaptive", "16:9", "4:3", "1:1", "3:4", "9:16"] = "adaptive"
    audio: bool = True
    seed: int | None = None
    nsfw_checker: bool | None = None

    def wanted(self) -> Wanted:
        seconds = 5 if self.duration == -1 else self.duration
        return Wanted(
            self.first_frame_url,
            seconds,
            SHORT_SIDES[self.resolution.lower()],
            self.rates()[self.resolution] * seconds,
            aspect=_explicit(self.aspect_ratio),
            sound=self.audio,
        )

    def rates(self) -> dict[str, float]:
        return {"480P": 8, "720P": 16, "1080P": 32}


class Wan30Prime(Wan30):
    def rates(self) -> dict[str, float]:
        return {"480P": 12.2, "720P": 25.2, "1080P": 50.4}


class Wan27(ModelInput):
    prompt: Text
    first_frame_url: Url
    last_frame_url: Url | None = None
    negative_prompt: Text | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = None
    seed: int | None = None
    # Clients disagree whether this is a number or a text, so both are taken.
    duration: Annotated[int, Field(ge=2, le=15)] | Literal["2"] | UpTo15 = 5
    resolution: Literal["720p", "1080p"] = "1080p"

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        rate = {"720p": 16, "1080p": 24}[self.resolution]
        return Wanted(self.first_frame_url, seconds, SHORT_SIDES[self.resolution], rate * seconds)


class Seedance2(ModelInput):
    prompt: Annotated[Text, Field(min_length=3, max_length=20_000)] | None = None
    first_frame_url: Url
    last_frame_url: Url | None = None
    generate_audio: bool = True
    return_last_frame: bool = False
    duration: Annotated[int, Field(ge=4, le=15)] = 5
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    aspect_ratio: Literal["adaptive", "16:9", "4:3", "1:1", "3:4", "9:16", "21:9"] = "adaptive"

    def wanted(self) -> Wanted:
        return Wanted(
            self.first_frame_url,
            self.duration,
            SHORT_SIDES[self.resolution],
            self.rate() * self.duration,
            aspect=_explicit(self.aspect_ratio),
            sound=self.generate_audio,
        )

    def rate(self) -> float:
        """Credits a second at 720p; what other sizes cost is not known, so they cost the same."""
        return 41


class Seedance2Fast(Seedance2):
    def rate(self) -> float:
        return 33


class Seedance2Mini(Seedance2):
    def rate(self) -> float:
        return 20.5


class Seedance25(Seedance2):
    duration: Annotated[int, Field(ge=4, le=30)] = 5

    def rate(self) -> float:
        return 63


class GrokImagine(ModelInput):
    prompt: Text | None = None
    image_urls: Annotated[list[Url], Field(min_length=1, max_length=7)]
    mode: Literal["fun", "normal", "spicy"] = "normal"
    duration: Annotated[str, StringConstraints(pattern=r"^([6-9]|[12][0-9]|30)$")] = "6"
    resolution: Literal["480p", "720p", "1080p"] = "480p"
    aspect_ratio: Literal["2:3", "3:2", "1:1", "9:16", "16:9"] | None = None

    def wanted(self) -> Wanted:
        seconds = int(self.duration)
        rate = {"480p": 2.4, "720p": 4.5, "1080p": 8}[self.resolution]
        aspect = self.aspect_ratio if len(self.image_urls) > 1 else None
        return Wanted(self.image_urls[0], seconds, SHORT_SIDES[self.resolution], rate * seconds, aspect=aspect)


class Grok15Preview(ModelInput):
    prompt: Text | None = None
    image_urls: OneUrl
    duration: Annotated[int, Field(ge=1, le=15)] = 5
    resolution: Literal["480p", "720p"] = "480p"
    aspect_ratio: Literal["auto", "2:3", "3:2", "1:1", "9:16", "16:9"] = "auto"

    def wanted(self) -> Wanted:
        rate = {"480p": 2.4, "720p": 4.5}[self.resolution]
        return Wanted(
            self.image_urls[0],
            self.duration,
            SHORT_SIDES[self.resolution],
            rate * self.duration,
            aspect=_explicit(self.aspect_ratio),
        )


class HailuoStandard(ModelInput):
    prompt: Text
    image_url: Url
    duration: Literal["6", "10"] = "6"
    resolution: Literal["768P", "1080P"] = "768P"

    def wanted(self) -> Wanted:
        side = SHORT_SIDES[self.resolution.lower()]
        return Wanted(self.image_url, int(self.duration), side, self.prices()[self.duration], sound=False)

    def prices(self) -> dict[str, float]:
        return {"6": 30, "10": 50}


class HailuoPro(HailuoStandard):
    def prices(self) -> dict[str, float]:
        return {"6": 45, "10": 90}


class Veo31(ModelInput):
    prompt: Text | None = None
    image_urls: Annotated[list[Url], Field(min_length=1)]
    generation_type: Text | None = None
    enable_translation: bool | None = None
    watermark: Text | None = None
    duration: Literal[4, 6, 8] = 8
    resolution: Literal["720p", "1080p", "4k"] = "720p"
    aspect_ratio: Literal["auto", "16:9", "9:16"] = "auto"

    def wanted(self) -> Wanted:
        side = SHORT_SIDES[self.resolution]
        return Wanted(self.image_urls[0], self.duration, side, 60, aspect=_explicit(self.aspect_ratio))


class Sora2(ModelInput):
    prompt: Annotated[Text, Field(max_length=10_000)]
    image_urls: OneUrl
    aspect_ratio: Literal["portrait", "landscape"] = "landscape"
    n_frames: Literal["10", "15"] = "10"
    remove_watermark: bool | None = None
    character_id_list: Annotated[list[Text], Field(max_length=5)] | None = None
    upload_method: Literal["s3", "oss"] | None = None

    def wanted(self) -> Wanted:
        seconds = int(self.n_frames)
        aspect = {"portrait": "9:16", "landscape": "16:9"}[self.aspect_ratio]
        return Wanted(self.image_urls[0], seconds, self.side(), self.rate() * seconds, aspect=aspect)

    def side(self) -> int:
        return 720

    def rate(self) -> float:
        return 3


class Sora2Pro(Sora2):
    size: Literal["standard", "high"] = "standard"

    def side(self) -> int:
        return {"standard": 720, "high": 1024}[self.size]

    def rate(self) -> float:
        """What the service asked is not on record, so it asks what the maker did."""
        return {"standard": 60, "high": 100}[self.size]


@dataclass(frozen=True)
class Model:
    """One entry of the catalogue. Sora 2 still speaks its documented input, but is no longer listed."""

    id: str
    title: str
    provider: str
    input: type[ModelInput]
    price: str
    is_listed: bool = True

    def read(self, fields: dict[str, JsonValue]) -> ModelInput:
        """The checked input; raises BadInput."""
        return read_strictly(self.input, fields)


MODELS = {
    model.id: model
    for model in (
        Model(
            "kling/v3-turbo-image-to-video",
            "Kling 3.0 Turbo",
            "Kling",
            KlingTurbo,
            "18 credits per second (720p), 22.5 (1080p)",
        ),
        Model("kling-3.0/video", "Kling 3.0", "Kling", Kling3, "14 / 20 credits per second (std, silent / sound)"),
        Model(
            "kling-3.0-omni/image-to-video",
            "Kling 3.0 Omni",
            "Kling",
            Kling3Omni,
            "14 / 18 credits per second (720p, silent / sound)",
        ),
        Model("kling-2.6/image-to-video", "Kling 2.6", "Kling", Kling26, "55 / 110 credits per 5 s (silent / sound)"),
        Model(
            "minimax-h3/image-to-video",
            "MiniMax H3",
            "MiniMax",
            MinimaxH3,
            "8 credits per second (768P), 13 (2K)",
        ),
        Model("wan/3-0-video", "Wan 3.0", "Wan", Wan30, "8 / 16 / 32 credits per second (480P / 720P / 1080P)"),
        Model(
            "wan/3-0-video-prime",
            "Wan 3.0 Prime",
            "Wan",
            Wan30Prime,
            "12.2 / 25.2 / 50.4 credits per second (480P / 720P / 1080P)",
        ),
        Model("wan/2-7-image-to-video", "Wan 2.7", "Wan", Wan27, "16 / 24 credits per second (720p / 1080p)"),
        Model("bytedance/seedance-2", "Seedance 2", "ByteDance", Seedance2, "41 credits per second (720p)"),
        Model("bytedance/seedance-2-fast", "Seedance 2 Fast", "ByteDance", Seedance2Fast, "33 credits per second"),
        Model("bytedance/seedance-2-mini", "Seedance 2 Mini", "ByteDance", Seedance2Mini, "20.5 credits per second"),
        Model("bytedance/seedance-2-5", "Seedance 2.5", "ByteDance", Seedance25, "63 credits per second (720p)"),
        Model(
            "grok-imagine/image-to-video",
            "Grok Imagine",
            "xAI",
            GrokImagine,
            "2.4 / 4.5 / 8 credits per second (480p / 720p / 1080p)",
        ),
        Model(
            "grok-imagine-video-1-5-preview",
            "Grok Imagine 1.5 Preview",
            "xAI",
            Grok15Preview,
            "2.4 / 4.5 credits per second (480p / 720p)",
        ),
        Model(
            "hailuo/2-3-image-to-video-standard",
            "Hailuo 2.3 Standard",
            "MiniMax",
            HailuoStandard,
            "30 credits per 6 s, 50 per 10 s (768P)",
        ),
        Model(
            "hailuo/2-3-image-to-video-pro",
            "Hailuo 2.3 Pro",
            "MiniMax",
            HailuoPro,
            "45 credits per 6 s, 90 per 10 s (768P)",
        ),
        Model("veo-3-1", "Veo 3.1", "Google", Veo31, "60 credits per video (fast)"),
        Model("sora-2-image-to-video", "Sora 2", "OpenAI", Sora2, "30 credits per 10 s", is_listed=False),
        Model(
            "sora-2-pro-image-to-video",
            "Sora 2 Pro",
            "OpenAI",
            Sora2Pro,
            "60 / 100 credits per second (standard / high)",
            is_listed=False,
        ),
    )
}


M = TypeVar("M", bound=BaseModel)


def read_strictly(shape: type[M], fields: object) -> M:
    """`fields` as a `shape`; raises BadInput with the odd codes of the service: 500 for a missing field."""
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        problems = error.errors()
    for problem in problems:
        if problem["type"] == "missing":
            raise BadInput(500, f"{problem['loc'][-1]} is required")
    problem = problems[0]
    field = ".".join(str(part) for part in problem["loc"][:1]) or "body"
    if problem["type"] == "extra_forbidden":
        raise BadInput(422, f"{field} is not supported by this model")
    raise BadInput(422, f"{field}: {problem['msg']}")


def frame_size(wanted: Wanted, image_size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the video; even, as H.264 needs them, and never longer than 1:2."""
    width, height = (int(part) for part in wanted.aspect.split(":")) if wanted.aspect else image_size
    ratio = min(max(width / height, 0.5), 2.0)
    long_side = round(wanted.short_side * max(ratio, 1 / ratio) / 2) * 2
    return (wanted.short_side, long_side) if ratio <= 1 else (long_side, wanted.short_side)


def _explicit(aspect_ratio: str) -> str | None:
    return aspect_ratio if ":" in aspect_ratio else None
