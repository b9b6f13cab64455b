"""aiogram is imported here first, without what makes that slow: its models are built when they are first used.

aiogram 3.31 has pydantic build 400 models as it is imported, each with all that it refers to, and a process that takes
orders needs a dozen of them (docs/decisions/0019-deferred-models.md).
"""

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def _import_aiogram() -> None:
    """Import aiogram; whatever it would have built is left to pydantic, which builds a model when it is needed.

    Its modules import the types they refer to for type checkers only, and aiogram hands pydantic their names as it
    builds. They are put where pydantic looks by itself: among the names of each module that a model is written in.
    """
    if "aiogram" in sys.modules:
        return
    names: dict[str, Any] = {}
    modules: set[str] = set()

    def remember(model: type[BaseModel], *, _types_namespace: Mapping[str, Any]) -> None:
        names.update(_types_namespace)
        modules.add(model.__module__)

    build = BaseModel.__dict__["model_rebuild"]
    BaseModel.model_rebuild = classmethod(remember)  # type: ignore[method-assign, assignment]
    try:
        import aiogram  # noqa: F401, PLC0415 (the whole purpose)
    finally:
        BaseModel.model_rebuild = build  # type: ignore[method-assign]
    for module in modules:
        for name, value in names.items():
            vars(sys.modules[module]).setdefault(name, value)


_import_aiogram()

from aiogram import methods, types  # noqa: E402 (after the whole purpose)

_USUAL: tuple[type[BaseModel], ...] = (
    types.Update,
    types.InlineKeyboardButton,
    types.InlineKeyboardMarkup,
    methods.AnswerCallbackQuery,
    methods.DeleteMessage,
    methods.EditMessageCaption,
    methods.EditMessageReplyMarkup,
    methods.EditMessageText,
    methods.GetFile,
    methods.SendChatAction,
    methods.SendDocument,
    methods.SendMessage,
    methods.SendPhoto,
    methods.SendVideo,
)


def build_usual_models() -> None:
    """Build what every bot needs, before anybody waits for an answer."""
    for model in _USUAL:
        model.model_rebuild()
