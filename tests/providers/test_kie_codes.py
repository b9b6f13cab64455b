"""Every code, state and message of KIE that is known, and what it means to us, as one table for each call."""

from typing import Any

import pytest

from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.providers.kie_codes import query_failure, submit_failure, task_failure, upload_failure

TEMPORARY, RATE_LIMITED, OUTAGE = FailureKind.TEMPORARY, FailureKind.RATE_LIMITED, FailureKind.OUTAGE
UNSUITED, PERMANENT = FailureKind.UNSUITED, FailureKind.PERMANENT
PROVIDER, CONTENT, PHOTO, MODEL = Reason.PROVIDER, Reason.CONTENT, Reason.PHOTO, Reason.MODEL
ORDER, KEY, EVERYBODY = Scope.ORDER, Scope.KEY, Scope.PROVIDER
OF_MODEL = Scope.MODEL

Meant = tuple[FailureKind, Reason, Scope]

PASSES = (TEMPORARY, PROVIDER, ORDER)
TOO_FAST = (RATE_LIMITED, PROVIDER, KEY)
KEY_SHUT = (OUTAGE, PROVIDER, KEY)
AWAY = (OUTAGE, PROVIDER, EVERYBODY)
REFUSED = (PERMANENT, CONTENT, ORDER)
OTHER_PHOTO = (UNSUITED, PHOTO, ORDER)
OTHER_CONTENT = (UNSUITED, CONTENT, ORDER)
OTHER_MODEL = (UNSUITED, MODEL, ORDER)
MODEL_SHUT = (UNSUITED, MODEL, OF_MODEL)

SUBMITS: list[tuple[int, int | None, str, Meant | None]] = [
    # the envelope's codes, as they come with HTTP 200
    (200, 400, "Bad parameters", REFUSED),
    (200, 401, "You do not have access permissions", KEY_SHUT),
    (200, 402, "Credits insufficient. Your current balance isn't enough to run this request.", KEY_SHUT),
    (200, 403, "IP not allowed", KEY_SHUT),
    (200, 404, "Not found", MODEL_SHUT),
    (200, 408, "No result from upstream for more than 10 minutes", PASSES),
    (200, 422, "The model name you specified is not supported", MODEL_SHUT),
    (200, 422, "aspect_ratio is not supported by this model", OTHER_MODEL),
    (200, 422, "duration: Input should be '5' or '10'", OTHER_MODEL),
    (200, 422, "image_size is not supported", OTHER_PHOTO),
    (200, 429, "Too many requests, please try again later.", TOO_FAST),
    (200, 433, "Sub-key usage exceeds limit", KEY_SHUT),
    (200, 451, "image fetch failed", PASSES),
    (200, 455, "Service is under maintenance", AWAY),
    (200, 500, "Internal server error", PASSES),
    (200, 500, "image_urls is required", MODEL_SHUT),
    (200, 500, "This interface is temporarily paused", MODEL_SHUT),
    (200, 501, "Generation failed", PASSES),
    (200, 505, "Feature disabled", MODEL_SHUT),
    (200, 550, "Connection denied", PASSES),
    (200, 799, "A code of next year", PASSES),
    # the words of a refusal, where the code says too little
    (200, 400, "Your prompt was flagged by Website as violating content policies.", REFUSED),
    (200, 400, "The image contains a real person's face", OTHER_PHOTO),
    (200, 400, "PUBLIC_ERROR_PROMINENT_PEOPLE_FILTER_FAILED", OTHER_PHOTO),
    (200, 400, "Image size is too small", OTHER_PHOTO),
    (200, 400, "Failed to fetch the image", PASSES),
    (200, 400, "prompt is required", MODEL_SHUT),
    (200, 400, "NSFW content with people", REFUSED),
    (200, 422, "Input images must not contain realistic human faces", OTHER_PHOTO),
    (200, 422, "Your request was rejected by Flow(flagged as violating content policies). You may consider using our "
               "other fallback channels, which are likely to succeed.", OTHER_CONTENT),
    (200, 500, "The photo shows a celebrity", OTHER_PHOTO),
    (200, 501, "Content policy violation", REFUSED),
    # the same codes with their own HTTP status
    (400, 400, "Bad parameters", REFUSED),
    (401, 401, "Unauthorized", KEY_SHUT),
    (402, 402, "Insufficient credits", KEY_SHUT),
    (422, 422, "The model name you specified is not supported", MODEL_SHUT),
    (429, 429, "Too many requests", TOO_FAST),
    (408, 408, "Timed out", PASSES),
    # refused at the door, without an envelope
    (400, None, "", PASSES),
    (401, None, "", KEY_SHUT),
    (402, None, "", KEY_SHUT),
    (403, None, "error code: 1010", KEY_SHUT),
    (404, None, "", AWAY),
    (405, None, "", AWAY),
    (413, None, "", PASSES),
    (429, None, "", TOO_FAST),
    # and whatever leaves room for a task
    (200, 200, "success", None),
    (200, None, "<html>", None),
    (202, None, "", None),
    (302, None, "", None),
    (408, None, "", None),
    (429, 200, "success", None),
    (500, None, "", None),
    (500, 500, "image_urls is required", None),
    (502, None, "", None),
    (503, None, "", None),
    (504, None, "", None),
    (520, None, "", None),
    (524, None, "", None),
]  # fmt: skip

QUERIES: list[tuple[int, int | None, str, Meant]] = [
    (200, 400, "Bad parameters", PASSES),
    (200, 401, "You do not have access permissions", KEY_SHUT),
    (200, 402, "Credits insufficient", KEY_SHUT),
    (200, 404, "Model not found", PASSES),
    (200, 422, "The model name you specified is not supported", PASSES),
    (200, 429, "Too many requests", TOO_FAST),
    (200, 433, "Sub-key usage exceeds limit", KEY_SHUT),
    (200, 455, "Service is under maintenance", AWAY),
    (200, 500, "This interface is temporarily paused", PASSES),
    (200, 501, "Content policy violation", PASSES),
    (200, 505, "Feature disabled", PASSES),
    (200, 550, "Connection denied", PASSES),
    (401, None, "", KEY_SHUT),
    (403, None, "error code: 1010", KEY_SHUT),
    (404, None, "", PASSES),
    (429, None, "", TOO_FAST),
    (500, None, "", PASSES),
    (500, 455, "Service is under maintenance", AWAY),
    (502, None, "", AWAY),
    (503, None, "", AWAY),
    (504, None, "", AWAY),
    (520, None, "", AWAY),
    (530, None, "", AWAY),
    (503, 200, "success", AWAY),
]

UPLOADS: list[tuple[int, int | None, str, Meant]] = [
    (401, 401, "You do not have access permissions", KEY_SHUT),
    (402, 402, "Credits insufficient", KEY_SHUT),
    (403, None, "error code: 1010", AWAY),
    (404, None, "", AWAY),
    (400, 400, "uploadPath is required", PASSES),
    (413, None, "", PASSES),
    (429, 429, "Too many requests", TOO_FAST),
    (200, 433, "Sub-key usage exceeds limit", KEY_SHUT),
    (200, 455, "Service is under maintenance", AWAY),
    (500, 500, "Internal server error", PASSES),
    (502, None, "", AWAY),
    (503, None, "", AWAY),
    (522, None, "", AWAY),
]

TASKS: list[tuple[str, str, Meant]] = [
    # words count before codes
    ("500", "Internal Error", PASSES),
    ("500", "Internal server error", PASSES),
    ("500", "upstream API service timed out", PASSES),
    ("400", "Request timeout", PASSES),
    ("451", "image fetch failed", PASSES),
    ("400", "image fetch failed", PASSES),
    ("400", "Unable to download the file", PASSES),
    ("500", "The Google model was unable to generate audio", PASSES),
    ("500", "Ratio error", OTHER_MODEL),
    ("500", "resolution not supported", OTHER_MODEL),
    ("500", "This interface is temporarily paused", MODEL_SHUT),
    ("422", "rejected by Flow(PUBLIC_ERROR_UNSAFE_GENERATION)", OTHER_CONTENT),
    ("422", "Your request was rejected by Flow(a prominent person). You may consider our other channels", OTHER_PHOTO),
    ("400", "Your prompt was flagged by Website as violating content policies.", REFUSED),
    ("500", "The content is sensitive", REFUSED),
    ("500", "Sexual content involving people", REFUSED),
    ("500", "Input image may contain real person", OTHER_PHOTO),
    ("400", "FACE_DETECTED", OTHER_PHOTO),
    ("501", "The portrait rights of others", OTHER_PHOTO),
    ("400", "Image resolution must be at least 300 pixels", OTHER_PHOTO),
    # without words that are known, the code
    ("400", "", REFUSED),
    ("400", "Something that nobody has seen yet", REFUSED),
    ("422", "", OTHER_MODEL),
    ("505", "", MODEL_SHUT),
    ("402", "", PASSES),
    ("500", "The user interface is not a face", OTHER_PHOTO),
    ("500", "The interface and the surface", PASSES),
    ("501", "", PASSES),
    ("", "", PASSES),
    ("tomorrow", "Something that nobody has seen yet", PASSES),
]


def meant(failure: Failure | None) -> Meant | None:
    return (failure.kind, failure.reason, failure.scope) if failure else None


@pytest.mark.parametrize(("status", "code", "msg", "meaning"), SUBMITS)
def test_f50_a_refused_submit(status: int, code: int | None, msg: str, meaning: Meant | None) -> None:
    assert meant(submit_failure(status, code, msg)) == meaning
    assert meant(submit_failure(status, code, msg.upper())) == meaning


@pytest.mark.parametrize(("status", "code", "msg", "meaning"), QUERIES)
def test_f50_a_question_without_an_answer(status: int, code: int | None, msg: str, meaning: Meant) -> None:
    assert meant(query_failure(status, code, msg)) == meaning


def test_a_question_without_an_answer_never_ends_what_it_was_about() -> None:
    failures = [query_failure(200, code, "a face, a policy, not supported") for code in range(201, 1000)]
    assert {failure.kind for failure in failures} == {TEMPORARY, RATE_LIMITED, OUTAGE}


@pytest.mark.parametrize(("status", "code", "msg", "meaning"), UPLOADS)
def test_f50_a_frame_that_was_not_taken(status: int, code: int | None, msg: str, meaning: Meant) -> None:
    assert meant(upload_failure(status, code, msg)) == meaning


@pytest.mark.parametrize(("fail_code", "fail_msg", "meaning"), TASKS)
def test_f64_a_failed_task(fail_code: str, fail_msg: str, meaning: Meant) -> None:
    assert meant(task_failure(fail_code, fail_msg)) == meaning


@pytest.mark.parametrize("failed", [submit_failure, query_failure, upload_failure])
def test_f44_the_services_own_word_on_when_to_come_back_is_kept(failed: Any) -> None:  # Any: three signatures
    for status, code in ((429, None), (429, 429), (200, 429), (200, 455)):
        failure = failed(status, code, "later", retry_after_seconds=7.0)
        assert failure.retry_after_seconds == 7.0


def test_what_is_logged_says_which_call_and_which_code_and_has_an_end() -> None:
    failures = [
        submit_failure(200, 422, "x" * 5000),
        query_failure(503, None, ""),
        upload_failure(403, None, "error code: 1010"),
        task_failure("500", "y" * 5000),
    ]
    texts = [failure.message for failure in failures if failure]
    assert [text[:30].partition("xx")[0].partition("yy")[0] for text in texts] == [
        "submit: code 422: ",
        "query: HTTP 503",
        "upload: HTTP 403: error code: ",
        "task failed, code 500: ",
    ]
    assert max(map(len, texts)) < 600
