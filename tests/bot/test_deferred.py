"""aiogram's models: not built as long as nobody needs them, and whole when somebody does."""

import subprocess
import sys
from pathlib import Path

import pytest
from aiogram import methods, types
from pydantic import BaseModel

import neurocards

MODELS = [
    model
    for room in (types, methods)
    for model in (getattr(room, name) for name in room.__all__)
    if isinstance(model, type)
    and issubclass(model, BaseModel)
    and not model.__pydantic_generic_metadata__["parameters"]
]


def test_importing_the_bot_builds_no_model_that_nobody_needs_and_touches_no_module_of_others() -> None:
    code = (
        "import builtins, typing, neurocards.bot; from aiogram.types import Gift;"
        "print(Gift.__pydantic_complete__, hasattr(builtins, 'Gift'), hasattr(typing, 'Gift'))"
    )
    environment = {"PYTHONPATH": str(Path(neurocards.__file__).parent.parent)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False"] * 3


def test_every_model_of_aiogram_can_be_built() -> None:
    assert len(MODELS) > 400
    for model in MODELS:
        try:
            model.__pydantic_validator__.validate_python  # noqa: B018 (looking at it builds it)
        except Exception as error:
            pytest.fail(f"{model.__name__}: {error}")
        assert model.__pydantic_complete__, model
