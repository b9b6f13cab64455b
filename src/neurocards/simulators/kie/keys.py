"""What KIE knows of each key: whether it opens anything, what it may do at once, and what it has done."""

from collections import defaultdict

from fastapi import Request
from pydantic import JsonValue
from starlette.responses import Response

from neurocards.simulators.exchange import bearer, masked
from neurocards.simulators.kie.faults import answer, too_many_requests
from neurocards.simulators.kie.settings import KieSettings
from neurocards.simulators.studio.usage import Usage, Window

TASKS_PER_WINDOW = 20


class RateWindow:
    """At most `most` events per key in any ten seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: defaultdict[str, Window] = defaultdict(Window)

    def admits(self, key: str) -> bool:
        """Whether one more event fits; it is counted when it does."""
        window = self._windows[key]
        if window.count() >= self._most:
            return False
        window.enter()
        return True


class KeyBook:
    """The figures of every key that has submitted anything, and the limits it is held to."""

    def __init__(self) -> None:
        self._used: defaultdict[str, Usage] = defaultdict(Usage)
        self._rate = RateWindow(TASKS_PER_WINDOW)

    def __getitem__(self, key: str) -> Usage:
        return self._used[key]

    def refusal(self, key: str, settings: KieSettings) -> Response | None:
        """Why this key may not submit now; None when it may, and then it is counted for the rate."""
        usage = self._used[key]
        if not opens(key, settings):
            return unauthorized()
        if key in settings.limited_keys:
            return answer(433, "Sub-key usage exceeds limit")
        if settings.max_in_flight is not None and usage.in_flight >= settings.max_in_flight:
            return too_many_requests()
        if settings.rate_limit and not self._rate.admits(key):
            return too_many_requests()
        return None

    def seen_by_tests(self, settings: KieSettings) -> dict[str, dict[str, JsonValue]]:
        """What `/sim/keys` shows, by masked key."""
        keys = [*self._used, *settings.key_credits, *(settings.api_keys or [])]
        return {
            masked(key): {**self._used.get(key, Usage()).figures(), "credits": purse(key, settings)} for key in keys
        }


def accepted_key(request: Request, settings: KieSettings) -> str | None:
    """The key a request came with; None when it opens nothing."""
    key = bearer(request.headers.get("authorization", ""))
    return key if opens(key, settings) else None


def opens(key: str, settings: KieSettings) -> bool:
    """Whether a key is let in at all."""
    known = settings.api_keys is None or key in settings.api_keys
    return bool(key) and known and key not in settings.revoked_keys


def unauthorized() -> Response:
    return answer(401, "You do not have access permissions")


def purse(key: str, settings: KieSettings) -> float:
    """The credits a key can spend: its own, else those that all other keys share."""
    return settings.key_credits.get(key, settings.credits)
