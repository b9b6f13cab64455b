"""What KIE's codes and words mean to us, as tables: what may be done, why a customer would hear of it, and whom else
the trouble reaches.

KIE answers HTTP 200 for most failures, and its envelope's `code` decides; a gateway in front of it answers with a
status and no envelope. The codes are those of docs.kie.ai (model pages; 433, 451, 455, 505 and 550 are KIE's own).
Messages are free text: they are matched loosely, whatever their case and punctuation.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.providers.http import printable

MAX_MESSAGE_LETTERS = 500
"""As much of a message as is read and logged."""


@dataclass(frozen=True)
class Meaning:
    """What a code or a message means: what may be done, why, and for whom else it holds."""

    kind: FailureKind
    reason: Reason = Reason.PROVIDER
    scope: Scope = Scope.ORDER


PASSING = Meaning(FailureKind.TEMPORARY)
TOO_FAST = Meaning(FailureKind.RATE_LIMITED, scope=Scope.KEY)
KEY_SHUT = Meaning(FailureKind.OUTAGE, scope=Scope.KEY)
AWAY = Meaning(FailureKind.OUTAGE, scope=Scope.PROVIDER)

CONTENT = Meaning(FailureKind.PERMANENT, Reason.CONTENT)
"""Nobody should be asked for this: words or photo break rules that all models have."""

OTHER_CONTENT = Meaning(FailureKind.UNSUITED, Reason.CONTENT)
"""This model's guard said no, and KIE itself says that others are likely to say yes."""

OTHER_PHOTO = Meaning(FailureKind.UNSUITED, Reason.PHOTO)
"""This model refuses photos like this one, mostly for the people in them; another may take it."""

OTHER_MODEL = Meaning(FailureKind.UNSUITED, Reason.MODEL)
"""This model cannot make this video; of other videos that says nothing."""

MODEL_SHUT = Meaning(FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)
"""The model is gone, switched off, or wants other fields than our profile says: nobody gets a video of it."""

# Codes ----------------------------------------------------------------------------------------------------------

EVERY_CALL: Mapping[int, Meaning] = {
    401: KEY_SHUT,  # wrong key, or revoked
    402: KEY_SHUT,  # no credits left
    403: KEY_SHUT,  # not from this address: a key can carry a list of those
    429: TOO_FAST,  # rejected, not queued: no task was made
    433: KEY_SHUT,  # the key's own limit by hour, day or in all
    455: AWAY,  # maintenance
}

SUBMIT_CODES: Mapping[int, Meaning] = {
    **EVERY_CALL,
    400: CONTENT,  # refused content or bad parameters; ours come from tested profiles
    404: MODEL_SHUT,
    408: PASSING,  # upstream gave no result for ten minutes
    422: OTHER_MODEL,  # a field that does not fit: that may be this order's alone
    451: PASSING,  # the image could not be fetched: the next attempt uploads it anew
    500: PASSING,
    501: PASSING,
    505: MODEL_SHUT,  # feature disabled
    550: PASSING,  # connection denied
}
"""By the envelope of createTask. A code that nobody knows passes."""

DOOR_STATUSES: Mapping[int, Meaning] = {
    **EVERY_CALL,
    404: AWAY,  # no such route: this is not KIE, or not the KIE that we know
    405: AWAY,
}
"""By the status of an answer without an envelope. Other refusals at the door pass."""

GATEWAY_STATUSES: Mapping[int, Meaning] = {
    502: AWAY,
    503: AWAY,
    504: AWAY,
    **dict.fromkeys(range(520, 531), AWAY),  # Cloudflare's own
}
"""What a gateway says when KIE does not answer it. After a submit nobody knows whether KIE has heard it."""

QUERY_CODES: Mapping[int, Meaning] = {**EVERY_CALL, **GATEWAY_STATUSES}
"""For questions, whose failure ends nothing: whatever is not named passes."""

UPLOAD_CODES: Mapping[int, Meaning] = {
    **DOOR_STATUSES,
    **GATEWAY_STATUSES,
    403: AWAY,  # the guard before the upload host turns our client away ("error code: 1010"), whatever the key
}

TASK_CODES: Mapping[str, Meaning] = {
    "400": CONTENT,
    "422": OTHER_MODEL,
    "505": MODEL_SHUT,
}
"""`failCode` of a failed task. Whatever is not named passes: the task cost nothing, and another one may work."""

UNKNOWN_TASK_CODES = frozenset({404, 422})
"""What recordInfo says of a task that it does not know: "recordInfo is null"."""

# Words ----------------------------------------------------------------------------------------------------------

Words = Sequence[tuple[re.Pattern[str], Meaning]]
"""The first that is found in a message counts."""


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b")


_IMAGE_LOST = _any_of(r"(?:image|file|photo|url) (?:fetch|download) (?:failed|error|timeout)",
                      r"(?:failed|unable) to (?:fetch|download|load|access)",
                      r"(?:cannot|could not|can t) be (?:fetched|downloaded|loaded|accessed)")  # fmt: skip
_LATE = _any_of(r"timed out", r"time ?out")
_SHUT = _any_of(r"is required", r"temporarily paused", r"model name you specified is not supported",
                r"no longer available")  # fmt: skip
_OTHER_FIELDS = _any_of(r"not supported", r"unsupported", r"not allowed", r"ratio error")
_FORBIDDEN = _any_of(r"nsfw", r"nud(?:e|ity)", r"sexual\w*", r"porn\w*", r"violen\w+", r"gore", r"terror\w*",
                     r"weapons?", r"drugs?")  # fmt: skip
_PEOPLE = _any_of(r"faces?", r"facial", r"humans?", r"persons?", r"people", r"children", r"minors?", r"portraits?",
                  r"celebrit(?:y|ies)", r"likeness")  # fmt: skip
_PICTURE = _any_of(r"(?:image|photo|picture) (?:is )?(?:too|size|resolution|dimensions?|format|width|height|ratio)",
                   r"invalid (?:image|photo|picture)")  # fmt: skip
_ONE_GUARD = _any_of(r"rejected by flow")
_POLICY = _any_of(r"polic(?:y|ies)", r"moderation", r"sensitive", r"prohibited", r"violat\w+", r"safety", r"unsafe",
                  r"inappropriate", r"flagged")  # fmt: skip

_REFUSALS: Words = [
    (_FORBIDDEN, CONTENT),
    (_PEOPLE, OTHER_PHOTO),
    (_PICTURE, OTHER_PHOTO),
    (_ONE_GUARD, OTHER_CONTENT),
    (_POLICY, CONTENT),
]

SUBMIT_WORDS: Mapping[int, Words] = {
    400: [(_IMAGE_LOST, PASSING), (_SHUT, MODEL_SHUT), *_REFUSALS],
    422: [(_SHUT, MODEL_SHUT), *_REFUSALS],
    500: [(_SHUT, MODEL_SHUT), *_REFUSALS],
    501: _REFUSALS,
}
"""Where the code of a refused submit says too little; a message without these words leaves it to the code."""

TASK_WORDS: Words = [
    (_IMAGE_LOST, PASSING),  # the next attempt uploads it anew
    (_LATE, PASSING),
    (_SHUT, MODEL_SHUT),
    *_REFUSALS,
    (_OTHER_FIELDS, OTHER_MODEL),
]
"""`failMsg` of a failed task. It counts before `failCode`, which is 400 or 500 for nearly everything."""

# Failures -------------------------------------------------------------------------------------------------------


def submit_failure(
    status: int, code: int | None, msg: str, *, retry_after_seconds: float | None = None
) -> Failure | None:
    """Why no task was made; None when one may have been made all the same.

    `code` is the envelope's, None where there is no envelope.
    """
    if status >= 500 or (status == 408 and code is None) or code == 200:
        # A gateway may say so although the task was made behind it, and success without a task is no refusal.
        return None
    if code is not None:
        meaning = _by_words(SUBMIT_WORDS.get(code, ()), msg) or SUBMIT_CODES.get(code, PASSING)
    elif 400 <= status < 500:
        meaning = DOOR_STATUSES.get(status, PASSING)
    else:
        return None
    return _failure(meaning, f"submit: {_said(status, code)}", msg, retry_after_seconds)


def query_failure(status: int, code: int | None, msg: str, *, retry_after_seconds: float | None = None) -> Failure:
    """Why a question got no answer: never a reason to give up what was asked about."""
    meaning = QUERY_CODES.get(_deciding(status, code), PASSING)
    return _failure(meaning, f"query: {_said(status, code)}", msg, retry_after_seconds)


def upload_failure(status: int, code: int | None, msg: str, *, retry_after_seconds: float | None = None) -> Failure:
    """Why the frame was not taken."""
    meaning = UPLOAD_CODES.get(_deciding(status, code), PASSING)
    return _failure(meaning, f"upload: {_said(status, code)}", msg, retry_after_seconds)


def task_failure(fail_code: str, fail_msg: str) -> Failure:
    """Why a task ended without a result."""
    meaning = _by_words(TASK_WORDS, fail_msg) or TASK_CODES.get(fail_code.strip(), PASSING)
    return _failure(meaning, f"task failed, code {printable(fail_code[:20])}", fail_msg)


def _deciding(status: int, code: int | None) -> int:
    """The envelope decides where there is one that says what is wrong."""
    return status if code in (None, 200) else code


def _by_words(words: Words, msg: str) -> Meaning | None:
    """Letters and digits alone count: PROMINENT_PEOPLE_FILTER_FAILED holds words as well."""
    plain = " ".join(re.findall(r"[a-z0-9]+", msg[:MAX_MESSAGE_LETTERS].lower()))
    return next((meaning for pattern, meaning in words if pattern.search(plain)), None)


def _said(status: int, code: int | None) -> str:
    return f"HTTP {status}" if code is None else f"code {code}"


def _failure(meaning: Meaning, said: str, msg: str, retry_after_seconds: float | None = None) -> Failure:
    return Failure(
        meaning.kind,
        meaning.reason,
        f"{said}: {printable(msg[:MAX_MESSAGE_LETTERS])}".removesuffix(": "),
        scope=meaning.scope,
        retry_after_seconds=retry_after_seconds,
    )
