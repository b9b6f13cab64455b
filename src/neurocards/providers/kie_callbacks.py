"""KIE's callbacks: which task they are about, and whether KIE signed that. It signs the id and the time alone."""

import base64
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from neurocards.domain.callbacks import Callback, Forged, Told, sane_task_id

SIGNATURE_AGE_SECONDS = 300


class KieCallbacks:
    """Reads KIE's callbacks; satisfies web.hooks.CallbackReader."""

    def __init__(self, webhook_key: str | None) -> None:
        """`webhook_key` is the key with which KIE signs, where one was made there; without it nothing is signed."""
        self._key = webhook_key.encode() if webhook_key is not None else None

    async def read(self, headers: Mapping[str, str], body: bytes) -> Callback:
        """Told, or Forged when KIE has a key and did not sign the id of this task within the last minutes."""
        task_id = _task_id(body)
        if self._key is not None and not _signed(headers, task_id, self._key):
            return Forged()
        return Told(task_id)


def _task_id(body: bytes) -> str | None:
    try:
        told: Any = json.loads(body)  # Any: whatever the caller says
    except (ValueError, RecursionError):
        return None
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, dict):
        return None
    # KIE's own samples read the second name, its callbacks carry the first.
    return sane_task_id(data.get("taskId", data.get("task_id")))


def _signed(headers: Mapping[str, str], task_id: str | None, key: bytes) -> bool:
    timestamp = headers.get("X-Webhook-Timestamp", "")
    signature = headers.get("X-Webhook-Signature", "").encode("latin-1")
    if task_id is None or not re.fullmatch(r"[0-9]{1,12}", timestamp):
        return False
    expected = base64.b64encode(hmac.digest(key, f"{task_id}.{timestamp}".encode(), "sha256"))
    # The time of the world and not of the database: KIE's clock is the other side of this.
    fresh = abs(time.time() - int(timestamp)) <= SIGNATURE_AGE_SECONDS
    return hmac.compare_digest(signature, expected) and fresh
