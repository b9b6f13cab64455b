"""The bot's HTTP side: what Telegram and the video providers push to us."""

from neurocards.web.hooks import build_hooks
from neurocards.web.server import CannotListen, serve

__all__ = ["CannotListen", "build_hooks", "serve"]
