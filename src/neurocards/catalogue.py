"""Reads the catalogue from `content/`: templates and models, checked at start with the file and the field named."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, StringConstraints, ValidationError, model_validator

from neurocards.domain.catalogue import Catalogue, Field, JsonValue, Model, Template, Wire

CONTENT = Path(__file__).parent / "content"

DEFAULT_MODEL = "kling/v3-turbo-image-to-video"


class BadCatalogue(Exception):
    """A content file is unusable; the message names the file, the field and the reason."""


def load_catalogue(content: Path = CONTENT, *, default_model: str = DEFAULT_MODEL) -> Catalogue:
    """Read every template and model below `content`; raises BadCatalogue."""
    models = {model.id: model for model in _load(content / "models", _ModelFile)}
    templates = {template.id: template for template in _load(content / "templates", _TemplateFile)}
    if default_model not in models:
        raise BadCatalogue(f"VIDEO_MODEL: no model {default_model!r}; there are {', '.join(sorted(models))}")
    return Catalogue(
        templates={id: file.template() for id, file in templates.items()},
        models={id: file.model() for id, file in models.items()},
        default_model=default_model,
    )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_AnyFile = TypeVar("_AnyFile", bound=_File)


class _Field(_File):
    name: _Text
    wire: Wire


class _Fields(_File):
    prompt: _Field
    frame: _Field
    seconds: _Field


class _ModelFile(_File):
    id: _Text
    title: _Text
    provider: _Text
    retired: date | None = None
    seconds: PositiveInt
    seconds_allowed: tuple[PositiveInt, ...]
    min_width: PositiveInt
    min_height: PositiveInt
    prompt_characters: PositiveInt
    fields: _Fields
    constants: Mapping[str, JsonValue] = {}

    @model_validator(mode="after")
    def _sells_what_it_makes(self) -> Self:
        if self.seconds not in self.seconds_allowed:
            raise ValueError(f"seconds = {self.seconds} is not among seconds_allowed")
        return self

    def model(self) -> Model:
        return Model(
            id=self.id,
            title=self.title,
            provider=self.provider,
            retired=self.retired is not None,
            seconds=self.seconds,
            seconds_allowed=self.seconds_allowed,
            min_width=self.min_width,
            min_height=self.min_height,
            prompt_characters=self.prompt_characters,
            prompt_field=Field(**self.fields.prompt.model_dump()),
            frame_field=Field(**self.fields.frame.model_dump()),
            seconds_field=Field(**self.fields.seconds.model_dump()),
            constants=self.constants,
        )


class _TemplateFile(_File):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,23}$")]
    version: PositiveInt
    price_credits: PositiveInt
    own_words: bool = False
    brief: _Text
    text: _Text

    @model_validator(mode="after")
    def _says_what_is_sold(self) -> Self:
        if "{description}" not in self.text:
            raise ValueError("text has no {description} slot")
        return self

    def template(self) -> Template:
        return Template(**self.model_dump())


def _load(folder: Path, file_type: type[_AnyFile]) -> list[_AnyFile]:
    files = []
    for path in sorted(folder.glob("*.toml")):
        try:
            files.append(file_type.model_validate(tomllib.loads(path.read_text("utf-8"))))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadCatalogue(f"{path}: {error}") from error
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}" for problem in error.errors()
            )
            raise BadCatalogue(f"{path}: {problems}") from error
    if not files:
        raise BadCatalogue(f"{folder}: no files")
    return files
