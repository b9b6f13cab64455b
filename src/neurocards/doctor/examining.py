"""The round: all parts are looked at at once, each within its time, and none that is broken hides another."""

import asyncio

from neurocards.doctor import database, house, makers, outside
from neurocards.doctor.lines import Finding
from neurocards.doctor.looking import LOOK_SECONDS, Clock, Look, Patient, looked_at


async def examine(patient: Patient, *, clock: Clock) -> list[Finding]:
    """Look at everything; the findings are in the order in which a shop is set up."""
    looks: list[tuple[str, Look, float]] = [
        ("settings", lambda: house.settings(patient), LOOK_SECONDS),
        ("packages", house.packages, LOOK_SECONDS),
        ("video codecs", house.codecs, LOOK_SECONDS),
        ("media children", house.children, LOOK_SECONDS),
        ("disk", lambda: house.disk(patient.settings), LOOK_SECONDS),
        ("store", lambda: house.store(patient.settings), LOOK_SECONDS),
        ("database", lambda: database.look(patient, clock), database.SECONDS),
        ("clock", lambda: outside.clock(patient, clock), LOOK_SECONDS),
        ("telegram", lambda: outside.telegram(patient), LOOK_SECONDS),
        ("public address", lambda: outside.public_address(patient), LOOK_SECONDS),
        ("providers", lambda: makers.keys(patient), LOOK_SECONDS),
        ("models", lambda: makers.models(patient, clock), LOOK_SECONDS),
        ("prompt writer", lambda: makers.writer(patient, clock), LOOK_SECONDS),
    ]
    found = await asyncio.gather(*(looked_at(check, look, seconds=seconds) for check, look, seconds in looks))
    return [finding for findings in found for finding in findings]
