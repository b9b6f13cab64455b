"""Who makes videos and writes prompts: keys and what is left on them, models on offer, the writer's model."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from neurocards.checks import Account, Listing
from neurocards.doctor import lines
from neurocards.doctor.lines import Finding
from neurocards.doctor.looking import Clock, Patient
from neurocards.domain.bills import usd
from neurocards.domain.catalogue import Catalogue, Model
from neurocards.domain.failures import Failure, Scope

QUESTION_SECONDS = 15.0

FEW_VIDEOS = 20
"""So few are gone before somebody reads a warning."""

RETIREMENT_NOTICE = timedelta(days=30)

CLIP_SECONDS = 10
"""What a template sells."""

SETTINGS = {"kie": ("KIE_API_KEY", "KIE_API_URL"), "fal": ("FAL_KEY", "FAL_REST_URL")}


@runtime_checkable
class Opening(Protocol):
    """A provider that does not say what is left on a key, but whether it opens anything."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The labels of the keys, at least one."""
        ...

    async def try_key(self, key: str) -> None:
        """Raises Failure where the key opens nothing. Costs nothing."""
        ...


@runtime_checkable
class Offering(Protocol):
    """A prompt writer that says which models it offers."""

    @property
    def model(self) -> str:
        """The one that is asked."""
        ...

    async def offered(self) -> Mapping[str, date | None]:
        """The models on offer, and when each ends where that is told. Costs nothing. Raises Failure."""
        ...


# Keys -----------------------------------------------------------------------------------------------------------------


async def keys(patient: Patient) -> Sequence[Finding]:
    """Whether each key opens its provider, and what is left on it."""
    found: list[Finding] = []
    for name, (setting, url) in SETTINGS.items():
        provider = patient.providers.get(name)
        cost = _cost_usd(patient.catalogue, name)
        if isinstance(provider, Account):
            found += await asyncio.gather(*(_weighed(provider, name, label, cost) for label in provider.keys))
        elif isinstance(provider, Opening):
            found += await asyncio.gather(*(_tried(provider, name, label) for label in provider.keys))
        else:
            found.append(lines.PROVIDER_NOT_SET.told(provider=name, setting=setting, url=url))
    return found


async def _weighed(account: Account, provider: str, label: str, cost_usd: float) -> Finding:
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            units = await account.balance(label)
    except (Failure, TimeoutError) as failure:
        return _refused(failure, provider, label)
    left_usd = usd(provider, units)
    if left_usd is None:
        return lines.KEY_TAKEN.told(provider=provider, key=label)
    left = f"${left_usd:,.2f}"
    if left_usd < cost_usd:
        return lines.KEY_EMPTY.told(provider=provider, key=label, left=left, cost=f"${cost_usd:.2f}")
    videos = int(left_usd / cost_usd)
    line = lines.KEY_LOW if videos < FEW_VIDEOS else lines.KEY_SOUND
    return line.told(provider=provider, key=label, left=left, videos=videos)


async def _tried(provider: Opening, name: str, label: str) -> Finding:
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            await provider.try_key(label)
    except (Failure, TimeoutError) as failure:
        return _refused(failure, name, label)
    return lines.KEY_TAKEN.told(provider=name, key=label)


def _refused(failure: Failure | TimeoutError, provider: str, label: str) -> Finding:
    setting, url = SETTINGS[provider]
    if not isinstance(failure, Failure):
        return lines.PROVIDER_AWAY.told(
            provider=provider, key=label, error=f"no answer within {QUESTION_SECONDS:.0f} s", url=url
        )
    line = lines.KEY_REFUSED if failure.scope is Scope.KEY else lines.PROVIDER_AWAY
    return line.told(provider=provider, key=label, error=failure.message, setting=setting, url=url)


def _cost_usd(catalogue: Catalogue | None, provider: str) -> float:
    """What one more video costs at a provider: of the preferred model if it is one of its, else of the cheapest."""
    if catalogue is None:
        return 1.0
    costs = {
        model.id: model.cost.usd(_length(model)) for model in catalogue.models.values() if model.provider == provider
    }
    return costs.get(catalogue.preferred_model or "") or min(costs.values(), default=1.0)


def _length(model: Model) -> int:
    return CLIP_SECONDS if CLIP_SECONDS in model.seconds_allowed else max(model.seconds_allowed)


# Models ---------------------------------------------------------------------------------------------------------------


async def models(patient: Patient, clock: Clock) -> Sequence[Finding]:
    """Whether the models that would be asked are still there, and whether every template has one."""
    catalogue = patient.catalogue
    if catalogue is None:
        return [lines.NOT_LOOKED_AT.told(check="models", first="settings")]
    today = clock().date()
    able = [
        model
        for model in catalogue.models.values()
        if model.provider in patient.providers and not model.is_retired(today)
    ]
    found = [*_preferred(patient, catalogue, today), *_retiring(able, today)]
    listed = 0
    for name, provider in patient.providers.items():
        if isinstance(provider, Listing):
            ours = [model.id for model in able if model.provider == name]
            try:
                async with asyncio.timeout(QUESTION_SECONDS):
                    offered = await provider.listed()
            except (Failure, TimeoutError) as failure:
                told = failure.message if isinstance(failure, Failure) else "no answer"
                found.append(lines.MODELS_UNTOLD.told(provider=name, error=told))
                continue
            listed += sum(model in offered for model in ours)
            gone = {model for model in ours if model not in offered}
            found += [lines.MODEL_UNLISTED.told(model=model) for model in sorted(gone)]
            able = [model for model in able if model.id not in gone]
    found += _unmade(catalogue, able)
    if found:
        return found
    preferred = f"VIDEO_MODEL {catalogue.preferred_model or 'auto'}"
    return [lines.MODELS_SOUND.told(preferred=preferred, able=len(able), listed=listed)]


def _preferred(patient: Patient, catalogue: Catalogue, today: date) -> list[Finding]:
    """What keeps the model that is preferred from being asked."""
    model = catalogue.models.get(catalogue.preferred_model or "")
    if model is None:
        return []
    if model.is_retired(today):
        return [lines.MODEL_RETIRED.told(model=model.id, since=model.retires)]
    if model.provider not in patient.providers and patient.providers:
        setting, _ = SETTINGS[model.provider]
        return [lines.MODEL_KEYLESS.told(model=model.id, provider=model.provider, setting=setting)]
    return []


def _retiring(able: Sequence[Model], today: date) -> list[Finding]:
    return [
        lines.MODEL_RETIRING.told(model=model.id, on=model.retires)
        for model in able
        if model.retires is not None and model.retires <= today + RETIREMENT_NOTICE
    ]


def _unmade(catalogue: Catalogue, able: Sequence[Model]) -> list[Finding]:
    unmade = [
        template.id
        for template in catalogue.templates.values()
        if not any(
            model.can(template.wants)
            and template.seconds in model.seconds_allowed
            and model.price_credits <= template.price_credits
            for model in able
        )
    ]
    return [lines.TEMPLATE_UNMADE.told(templates=", ".join(unmade))] if unmade else []


# The prompt writer ----------------------------------------------------------------------------------------------------


async def writer(patient: Patient, clock: Clock) -> Sequence[Finding]:
    """Whether the writer takes our key and has our model, by its list of models."""
    found, settings = patient.writer, patient.settings
    if not isinstance(found, Offering):
        return [lines.WRITER_NOT_SET.told()]
    host = urlsplit(settings.openai_base_url).netloc
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            offered = await found.offered()
    except TimeoutError:
        return [lines.WRITER_AWAY.told(host=host, error=f"no answer within {QUESTION_SECONDS:.0f} s")]
    except Failure as failure:
        if failure.scope is Scope.KEY:
            return [lines.WRITER_REFUSED.told(error=failure.message)]
        line = lines.WRITER_UNTOLD if failure.scope is Scope.MODEL else lines.WRITER_AWAY
        return [line.told(host=host, error=failure.message)]
    if found.model not in offered:
        return [lines.WRITER_UNKNOWN.told(model=found.model)]
    ends = offered[found.model]
    if ends is None or ends > clock().date() + RETIREMENT_NOTICE:
        return [lines.WRITER_SOUND.told(model=found.model)]
    line = lines.WRITER_ENDING if ends > clock().date() else lines.WRITER_UNKNOWN
    return [line.told(model=found.model, on=ends)]
