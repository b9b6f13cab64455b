"""The HTTP side for people, on the page, in the demo or in tests: act in a chat and look at it."""

from dataclasses import dataclass
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, File, Form, HTTPException, Path, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from neurocards.simulators.telegram import person as acts
from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.changes import wait_for
from neurocards.simulators.telegram.conversation import Message, Person
from neurocards.simulators.telegram.dependencies import AnyWorld, FilesUrl, WaitSeconds
from neurocards.simulators.telegram.errors import Json
from neurocards.simulators.telegram.payments import Checkout
from neurocards.simulators.telegram.views import bubble_view, chat_view, message_view, news_view, person_view
from neurocards.simulators.telegram.world import World


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewPerson(_Body):
    id: int | None = Field(default=None, gt=0)
    first_name: str = Field(min_length=1)
    username: str | None = None
    language_code: str | None = None


class Start(_Body):
    payload: str | None = None


class Text(_Body):
    text: str


class Voice(_Body):
    seconds: int = Field(default=2, ge=1, le=60)


class Location(_Body):
    latitude: float = Field(default=55.7539, ge=-90, le=90)
    longitude: float = Field(default=37.6208, ge=-180, le=180)


class EditText(_Body):
    message_id: int
    text: str


class DeleteMessage(_Body):
    message_id: int


class Tap(_Body):
    """Either the label or data of a button that is there, or forged callback data."""

    message_id: int
    button: str | None = None
    forged_data: str | None = None


class Language(_Body):
    language_code: str | None


class Payment(_Body):
    """An invoice by its message or its link; without both the latest one."""

    message_id: int | None = None
    link: str | None = None


@dataclass(frozen=True)
class Scene:
    """Who acts, towards which bot, in which world."""

    world: World
    bot: Bot
    person: Person
    files_url: str

    def shown(self, message: Message) -> Json:
        return message_view(message, files_url=self.files_url)


async def _scene(
    world: AnyWorld, files_url: FilesUrl, person_id: Annotated[int, Path()], bot: str | None = None
) -> Scene:
    return Scene(world, world.chosen_bot(bot), world.person(person_id), files_url)


AnyScene = Annotated[Scene, Depends(_scene)]
router = APIRouter(prefix="/sim")


@router.post("/people")
async def add_person(world: AnyWorld, body: NewPerson) -> Json:
    return person_view(
        world.add_person(
            id=body.id,
            first_name=body.first_name,
            username=body.username,
            language_code=body.language_code,
        )
    )


@router.get("/people")
async def list_people(world: AnyWorld) -> list[Json]:
    return [person_view(person) for person in world.people.values()]


@router.post("/people/{person_id}/start")
async def start(scene: AnyScene, body: Start | None = None) -> Json:
    return scene.shown(acts.start(scene.world, scene.bot, scene.person, body.payload if body else None))


@router.post("/people/{person_id}/text")
async def write(scene: AnyScene, body: Text) -> Json:
    return scene.shown(acts.write(scene.world, scene.bot, scene.person, body.text))


@router.post("/people/{person_id}/photo")
async def send_photo(
    scene: AnyScene, file: Annotated[UploadFile, File()], caption: Annotated[str, Form()] = ""
) -> Json:
    photo = _sent(file)
    messages = await acts.send_photos(scene.world, scene.bot, scene.person, [photo], caption)
    return scene.shown(messages[0])


@router.post("/people/{person_id}/document")
async def send_document(
    scene: AnyScene, file: Annotated[UploadFile, File()], caption: Annotated[str, Form()] = ""
) -> Json:
    document = _sent(file)
    return scene.shown(await acts.send_document(scene.world, scene.bot, scene.person, document, caption))


@router.post("/people/{person_id}/album")
async def send_album(
    scene: AnyScene, file: Annotated[list[UploadFile], File()], caption: Annotated[str, Form()] = ""
) -> list[Json]:
    if not 2 <= len(file) <= 10:
        raise HTTPException(422, "an album has 2-10 photos, each as a part named file")
    photos = [_sent(photo) for photo in file]
    messages = await acts.send_photos(scene.world, scene.bot, scene.person, photos, caption)
    return [scene.shown(message) for message in messages]


@router.post("/people/{person_id}/forward")
async def forward(
    scene: AnyScene,
    channel: Annotated[str, Form(min_length=1)] = "Simulated channel",
    text: Annotated[str, Form()] = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Json:
    photo = _sent(file) if file else None
    message = await acts.send_forwarded(scene.world, scene.bot, scene.person, channel=channel, text=text, photo=photo)
    return scene.shown(message)


@router.post("/people/{person_id}/sticker")
async def send_sticker(scene: AnyScene) -> Json:
    return scene.shown(await acts.send_sticker(scene.world, scene.bot, scene.person))


@router.post("/people/{person_id}/voice")
async def send_voice(scene: AnyScene, body: Voice | None = None) -> Json:
    seconds = (body or Voice()).seconds
    return scene.shown(await acts.send_voice(scene.world, scene.bot, scene.person, seconds=seconds))


@router.post("/people/{person_id}/location")
async def send_location(scene: AnyScene, body: Location | None = None) -> Json:
    at = body or Location()
    return scene.shown(
        acts.send_location(scene.world, scene.bot, scene.person, latitude=at.latitude, longitude=at.longitude)
    )


@router.post("/people/{person_id}/edit")
async def edit(scene: AnyScene, body: EditText) -> Json:
    return scene.shown(acts.edit(scene.world, scene.bot, scene.person, body.message_id, body.text))


@router.post("/people/{person_id}/delete")
async def delete(scene: AnyScene, body: DeleteMessage) -> Json:
    acts.delete(scene.world, scene.bot, scene.person, body.message_id)
    return {"deleted": True}


@router.post("/people/{person_id}/tap")
async def tap(scene: AnyScene, body: Tap) -> Json:
    target = scene.world, scene.bot, scene.person, body.message_id
    if body.forged_data is not None:
        callback = acts.tap_forged(*target, body.forged_data)
    elif body.button is not None:
        callback = acts.tap(*target, body.button)
    else:
        raise HTTPException(422, "button or forged_data is needed")
    return {"callback_query_id": callback.id}


@router.get("/callbacks/{callback_id}")
async def callback_answer(world: AnyWorld, callback_id: str, wait: WaitSeconds = 0) -> Json:
    callback = world.callbacks.get(callback_id)
    if callback is None:
        raise HTTPException(404, f"no callback {callback_id}")
    await wait_for(callback.answered, wait)
    return callback.as_json()


@router.post("/people/{person_id}/block")
async def block(scene: AnyScene) -> Json:
    acts.block(scene.world, scene.bot, scene.person)
    return {"blocked": True}


@router.post("/people/{person_id}/unblock")
async def unblock(scene: AnyScene) -> Json:
    acts.unblock(scene.world, scene.bot, scene.person)
    return {"blocked": False}


@router.post("/people/{person_id}/language")
async def change_language(scene: AnyScene, body: Language) -> Json:
    scene.world.change_language(scene.person, body.language_code)
    return person_view(scene.person)


@router.post("/people/{person_id}/pay")
async def pay(scene: AnyScene, body: Payment | None = None) -> Json:
    return _checkout_json(_checkout(scene, body, will_be_paid=True))


@router.post("/people/{person_id}/decline")
async def decline(scene: AnyScene, body: Payment | None = None) -> Json:
    return _checkout_json(_checkout(scene, body, will_be_paid=False))


@router.get("/checkouts/{checkout_id}")
async def checkout_outcome(world: AnyWorld, checkout_id: str, wait: WaitSeconds = 0) -> Json:
    checkout = world.checkouts.get(checkout_id)
    if checkout is None:
        raise HTTPException(404, f"no checkout {checkout_id}")
    await wait_for(checkout.ended, wait)
    return _checkout_json(checkout)


@router.get("/people/{person_id}/news")
async def news(scene: AnyScene, since: int = 0, wait: WaitSeconds = 0) -> Json:
    """What has changed in the chat after version `since`: for whoever looks often and remembers the rest."""
    shown = scene.world.open_chat(scene.bot, scene.person)
    await shown.changes.wait_beyond(since, wait)
    return news_view(shown, since=since, files_url=scene.files_url)


@router.get("/people/{person_id}/chat")
async def chat(scene: AnyScene, since: int = 0, wait: WaitSeconds = 0) -> Json:
    """The chat; with `since` and `wait` as soon as its version is greater, or when the wait is over."""
    shown = scene.world.open_chat(scene.bot, scene.person)
    await shown.changes.wait_beyond(since, wait)
    return chat_view(shown, files_url=scene.files_url)


@router.get("/people/{person_id}/earlier")
async def earlier(scene: AnyScene, before: int, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> Json:
    """The messages just before one of them, oldest first, and whether there are still earlier ones."""
    shown = scene.world.find_chat(scene.bot, scene.person)
    messages, has_earlier = shown.page_before(before, limit) if shown else ([], False)
    return {
        "messages": [bubble_view(message, files_url=scene.files_url) for message in messages],
        "has_earlier": has_earlier,
    }


def _checkout(scene: Scene, body: Payment | None, *, will_be_paid: bool) -> Checkout:
    asked = body or Payment()
    return acts.pay(
        scene.world,
        scene.bot,
        scene.person,
        message_id=asked.message_id,
        link=asked.link,
        will_be_paid=will_be_paid,
    )


def _checkout_json(checkout: Checkout) -> Json:
    return {
        "checkout_id": checkout.id,
        "state": checkout.state,
        "error_message": checkout.error_message,
        "telegram_payment_charge_id": checkout.charge_id,
    }


def _sent(file: UploadFile) -> acts.Sent:
    stream: BinaryIO = file.file
    return acts.Sent(file.filename or "file", stream)
