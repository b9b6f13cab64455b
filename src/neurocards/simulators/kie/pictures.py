"""How KIE words it when the picture of a task cannot be used."""

from dataclasses import dataclass

from neurocards.simulators.studio import pictures
from neurocards.simulators.studio.pictures import Picture


@dataclass(frozen=True)
class Rejection:
    """Why a task fails, in the service's own fields."""

    fail_code: str
    fail_msg: str


NOT_FETCHED = Rejection("451", "image fetch failed")
NOT_WHAT_IT_SAYS = Rejection("400", "image fetch failed")


async def examine(content_type: str, data: bytes) -> Picture | Rejection:
    """The picture, when its bytes begin as its name promised."""
    return await pictures.examine(content_type, data) or NOT_WHAT_IT_SAYS
