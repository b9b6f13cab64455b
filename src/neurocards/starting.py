"""What keeps a process from starting, found before it starts: everything at once, one line per problem."""

from collections.abc import Collection
from typing import Literal

from neurocards.catalogue import BadCatalogue, load_catalogue
from neurocards.db.connection import BadAddress, check_address
from neurocards.settings import BadSettings, Reading, Settings, read_leniently
from neurocards.storage import BadStore, open_store

Role = Literal["bot", "worker"]
ROLES: tuple[Role, ...] = ("bot", "worker")


def settings_for(role: Role) -> Settings:
    """The settings of a process that can start with them; raises BadSettings with one line per problem."""
    reading = read_leniently()
    if found := problems(reading, [role]):
        raise BadSettings("\n".join(found))
    return reading.settings


def problems(reading: Reading, roles: Collection[Role] = ROLES) -> list[str]:
    """All that is wrong or missing for processes of these roles. Nobody outside is asked."""
    settings = reading.settings
    found = [*reading.problems, *_missing(reading, roles)]
    if settings.database_url is not None:
        try:
            check_address(settings.database_url.get_secret_value())
        except BadAddress as error:
            found.append(f"DATABASE_URL: {error}")
    try:
        load_catalogue(own=settings.content_folder, preferred_model=settings.video_model)
    except BadCatalogue as error:
        found += str(error).splitlines()
    try:
        open_store(settings.store_url, settings.neurocards_home)
    except BadStore as error:
        found.append(str(error))
    return found


def _missing(reading: Reading, roles: Collection[Role]) -> list[str]:
    """What is not set and has no default. What is set wrong is told already."""
    try:
        if "worker" in roles:
            reading.settings.worker_secrets()
        else:
            reading.settings.required("bot_token")
    except BadSettings as error:
        return [line for line in str(error).splitlines() if line.partition(" ")[0].lower() not in reading.wrong]
    return []
