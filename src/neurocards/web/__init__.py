"""Our HTTP sides: what Telegram and the video providers push to the bot, and what operators ask any process."""

from neurocards.web.hooks import build_hooks
from neurocards.web.ops import Ops, build_ops, keep_serving
from neurocards.web.server import CannotListen, serve

__all__ = ["CannotListen", "Ops", "build_hooks", "build_ops", "keep_serving", "serve"]
