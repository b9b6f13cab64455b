"""Reads the catalogue from `content/`: templates and models, checked at start with the file and the field named.

An operator's own folder beside it adds files, and replaces those with the same id: no code is touched for a new model.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic import Field as Limits

from neurocards.domain.catalogue import (
    Aspect,
    Catalogue,
    Cost,
    Field,
    JsonValue,
    Lock,
    Model,
    Sample,
    Template,
    Wants,
    Wire,
)

CONTENT = Path(__file__).parent / "content"

DEFAULT_MODEL = "kling/v3-turbo-image-to-video"

CHEAPEST = "auto"
"""Instead of a model's id: whichever brings a video for the least money."""


class BadCatalogue(Exception):
    """A content file is unusable; the message names the file, the field and the reason."""


def load_catalogue(
    content: Path = CONTENT, *, own: Path | None = None, preferred_model: str = DEFAULT_MODEL
) -> Catalogue:
    """Read every template and model below `content`, and below the operator's `own` folder; raises BadCatalogue."""
    folders = [content] if own is None else [content, own]
    if own is not None and not _has_folder(own, "models", "templates"):
        raise BadCatalogue(f"CONTENT_FOLDER: {own} has neither a folder models nor a folder templates")
    models = {file.id: file.model() for folder in folders for file in _load(folder / "models", _ModelFile)}
    templates = {file.id: file.template() for folder in folders for file in _load(folder / "templates", _TemplateFile)}
    for kind, found in (("models", models), ("templates", templates)):
        if not found:
            raise BadCatalogue(f"{content / kind}: no files")
    if preferred_model != CHEAPEST and preferred_model not in models:
        raise BadCatalogue(f"VIDEO_MODEL: no model {preferred_model!r}; there are {', '.join(sorted(models))}")
    lock = _read(content / "lock.toml", _LockFile)
    return Catalogue(
        templates=templates,
        models=models,
        lock=Lock(" ".join(lock.positive.split()), " ".join(lock.negative.split())),
        preferred_model=None if preferred_model == CHEAPEST else preferred_model,
    )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_AnyFile = TypeVar("_AnyFile", bound=_File)


class _Field(_File):
    name: _Text
    wire: Wire

    def field(self) -> Field:
        return Field(self.name, self.wire)


class _Fields(_File):
    prompt: _Field
    frame: _Field
    seconds: _Field
    last_frame: _Field | None = None
    negative: _Field | None = None


class _Cost(_File):
    usd_per_second: PositiveFloat | None = None
    usd_by_seconds: Mapping[int, PositiveFloat] | None = None
    usd_per_video: PositiveFloat | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("exactly one of usd_per_second, usd_by_seconds and usd_per_video is needed")
        return self


class _ModelFile(_File):
    id: _Text
    title: _Text
    provider: Literal["kie", "fal"]
    retires: date | None = None
    seconds_allowed: Annotated[tuple[PositiveInt, ...], Limits(min_length=1)]
    min_width: PositiveInt
    min_height: PositiveInt
    aspect: Aspect
    prompt_characters: Annotated[int, Limits(ge=500)]
    sound: bool
    people: bool
    speech: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")], ...]
    usual_seconds: PositiveFloat
    price_credits: PositiveInt
    cost: _Cost
    fields: _Fields
    constants: Mapping[str, JsonValue] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        by_seconds = self.cost.usd_by_seconds
        if by_seconds is not None and set(by_seconds) != set(self.seconds_allowed):
            raise ValueError("cost.usd_by_seconds must have a price for each of seconds_allowed and for no other")
        if self.fields.seconds.wire is Wire.LIST:
            raise ValueError("fields.seconds.wire: a length is text or integer")
        for name in ("prompt", "frame", "last_frame", "negative"):
            field: _Field | None = getattr(self.fields, name)
            if field is not None and field.wire is Wire.INTEGER:
                raise ValueError(f"fields.{name}.wire: words and addresses are text or list")
        used = [field.name for field in self._all_fields()]
        if doubled := sorted({name for name in used if used.count(name) > 1} | (set(used) & set(self.constants))):
            raise ValueError(f"fields: {', '.join(doubled)} is used twice")
        return self

    def _all_fields(self) -> list[_Field]:
        fields = self.fields
        # A last frame may be the second of the list that the first one is in.
        last = fields.last_frame if fields.last_frame != fields.frame else None
        return [field for field in (fields.prompt, fields.frame, fields.seconds, last, fields.negative) if field]

    def model(self) -> Model:
        fields = self.fields
        return Model(
            id=self.id,
            title=self.title,
            provider=self.provider,
            retires=self.retires,
            seconds_allowed=self.seconds_allowed,
            min_width=self.min_width,
            min_height=self.min_height,
            aspect=self.aspect,
            prompt_characters=self.prompt_characters,
            sound=self.sound,
            people=self.people,
            speech=self.speech,
            usual_seconds=self.usual_seconds,
            price_credits=self.price_credits,
            cost=Cost(**self.cost.model_dump(exclude_unset=True)),
            prompt_field=fields.prompt.field(),
            frame_field=fields.frame.field(),
            seconds_field=fields.seconds.field(),
            last_frame_field=fields.last_frame.field() if fields.last_frame else None,
            negative_field=fields.negative.field() if fields.negative else None,
            constants=self.constants,
        )


class _Wants(_File):
    sound: bool = False
    people: bool = False
    last_frame: bool = False


class _Sample(_File):
    description: _Text
    wishes: str = ""


class _TemplateFile(_File):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,23}$")]
    version: PositiveInt
    price_credits: PositiveInt
    seconds: Annotated[int, Limits(ge=1, le=60)]
    photos: Annotated[int, Limits(ge=1, le=2)]
    own_words: bool = False
    speech_words: Annotated[int, Limits(ge=0, le=34)]
    brief: _Text
    text: _Text
    negative: str = ""
    wants: _Wants = _Wants()
    slots: Mapping[Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")], _Text] = {}
    sample: _Sample

    @model_validator(mode="after")
    def _says_what_is_sold(self) -> Self:
        slots = set(re.findall(r"\{([^{}]*)\}", self.text))
        if "description" not in slots:
            raise ValueError("text: there is no {description} slot")
        if own := {"description", "wishes"} & set(self.slots):
            raise ValueError(f"slots: {', '.join(sorted(own))} is what the customer says")
        if unknown := slots - set(self.slots) - {"description", "wishes"}:
            raise ValueError(f"text: nothing fills {', '.join(sorted(unknown))}")
        if idle := set(self.slots) - slots:
            raise ValueError(f"slots: the text has no place for {', '.join(sorted(idle))}")
        if self.wants.last_frame != (self.photos == 2):
            raise ValueError("photos: two are needed where wants.last_frame is true, and nowhere else")
        return self

    def template(self) -> Template:
        values = self.model_dump(exclude={"wants", "sample", "slots"})
        return Template(
            **values,
            wants=Wants(**self.wants.model_dump()),
            sample=Sample(**self.sample.model_dump()),
            slots=self.slots,
        )


class _LockFile(_File):
    positive: _Text
    negative: _Text


def _has_folder(own: Path, *kinds: str) -> bool:
    try:
        return any((own / kind).is_dir() for kind in kinds)
    except OSError as error:
        raise BadCatalogue(f"CONTENT_FOLDER: {own}: {error.strerror}") from error


def _load(folder: Path, file_type: type[_AnyFile]) -> list[_AnyFile]:
    try:
        # Not by glob, to which a folder that may not be read is an empty one.
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadCatalogue(f"{folder}: {error.strerror}") from error
    read = _read_once if folder.is_relative_to(CONTENT) else _read
    return [read(path, file_type) for path in paths]


def _read(path: Path, file_type: type[_AnyFile]) -> _AnyFile:
    try:
        return file_type.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise BadCatalogue(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"{path}: {error}") from error
    except ValidationError as error:
        raise BadCatalogue("\n".join(f"{path}: {_told(problem)}" for problem in error.errors())) from error


_read_once = cache(_read)
"""For files that come with the program and do not change while it runs: a start reads the catalogue more than once."""


def _told(problem: Mapping[str, object]) -> str:
    """A field's name and what is wrong with it; the checks of a whole file name their field themselves."""
    place, message = problem["loc"], str(problem["msg"]).removeprefix("Value error, ")
    where = ".".join(map(str, place)) if isinstance(place, tuple) else ""
    return f"{where}: {message}" if where else message
