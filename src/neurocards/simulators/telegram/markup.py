"""Buttons under a message and keyboards below the chat: read strictly, found by what a person sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurocards.simulators.telegram.errors import Json, bad_request

Buttons = list[list[Json]]

_ACTIONS = frozenset(
    {
        "url",
        "callback_data",
        "web_app",
        "login_url",
        "switch_inline_query",
        "switch_inline_query_current_chat",
        "switch_inline_query_chosen_chat",
        "copy_text",
        "callback_game",
        "pay",
        "disabled",
    }
)
_MAX_BUTTONS = 100


@dataclass(frozen=True)
class ReplyMarkup:
    """What came as `reply_markup`: inline buttons, or a change of the keyboard below the chat."""

    buttons: Buttons | None = None
    keyboard: list[list[str]] | None = None
    removes_keyboard: bool = False


def read_markup(values: Mapping[str, Any]) -> ReplyMarkup:  # fields of a call, from a form or from JSON
    """The call's `reply_markup`; refuses keyboards that Telegram refuses."""
    raw = values.get("reply_markup")
    if not raw:
        return ReplyMarkup()
    if not isinstance(raw, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in raw:
        return ReplyMarkup(buttons=_inline_buttons(raw["inline_keyboard"]))
    if "keyboard" in raw:
        return ReplyMarkup(keyboard=[[_label(button) for button in row] for row in _rows(raw["keyboard"])])
    return ReplyMarkup(removes_keyboard=bool(raw.get("remove_keyboard")))


def find_button(buttons: Buttons | None, label_or_data: str) -> Json | None:
    """The first button with this label, else the first with this callback data."""
    flat = [button for row in buttons or [] for button in row]
    for name in ("text", "callback_data"):
        for button in flat:
            if button.get(name) == label_or_data:
                return button
    return None


def _inline_buttons(raw: object) -> Buttons | None:
    rows = [[_inline_button(button) for button in row] for row in _rows(raw) if row]
    if sum(map(len, rows)) > _MAX_BUTTONS:
        raise bad_request("reply markup is too long")
    return rows or None


def _inline_button(raw: object) -> Json:
    if not isinstance(raw, dict):
        raise bad_request("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    _label(raw)
    actions = [name for name in _ACTIONS if raw.get(name) is not None]
    if not actions:
        raise bad_request("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise bad_request(f"can't parse inline keyboard button: exactly one action is allowed, found {sorted(actions)}")
    data = raw.get("callback_data")
    if data is not None and not 1 <= len(str(data).encode()) <= 64:
        raise bad_request("BUTTON_DATA_INVALID")
    return dict(raw)


def _rows(raw: object) -> list[list[Any]]:  # elements are checked one by one by the readers above
    if not isinstance(raw, list) or not all(isinstance(row, list) for row in raw):
        raise bad_request("can't parse reply keyboard markup JSON object")
    return raw


def _label(raw: object) -> str:
    text = raw.get("text") if isinstance(raw, dict) else raw
    if not isinstance(text, str):
        raise bad_request("can't parse keyboard button: Can't find field \"text\"")
    if not text.strip():
        raise bad_request("can't parse keyboard button: Button text must be non-empty")
    return text
