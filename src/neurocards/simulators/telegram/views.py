"""A chat as the person sees it, for tests and, piece by piece, for the page."""

from neurocards.simulators.telegram.conversation import Chat, Content, Media, Message, Person
from neurocards.simulators.telegram.errors import Json


def chat_view(chat: Chat, *, files_url: str) -> Json:
    """The whole chat at its present version."""
    return {
        "version": chat.changes.version,
        "messages": [message_view(message, files_url=files_url) for message in chat.messages.values()],
        "action": chat.action,
        "keyboard": chat.keyboard,
        "blocked": chat.blocked,
    }


def news_view(chat: Chat, *, since: int, files_url: str) -> Json:
    """What of the chat has changed after version `since`; of the versions a message had before only their number."""
    return {
        "version": chat.changes.version,
        "messages": [
            bubble_view(message, files_url=files_url) for message in chat.messages.values() if message.version > since
        ],
    }


def message_view(message: Message, *, files_url: str) -> Json:
    """One message with its buttons, its media and the versions it had before."""
    edits = [
        {
            "text": edit.content.text.text,
            "date": edit.date,
            "buttons": _buttons(edit.content),
            "media_kind": edit.content.media.kind if edit.content.media else None,
        }
        for edit in message.edits
    ]
    return bubble_view(message, files_url=files_url) | {"edits": edits}


def bubble_view(message: Message, *, files_url: str) -> Json:
    """One message as it is now; of the versions it had before only their number."""
    content = message.content
    name, html_name = ("caption", "caption_html") if content.media else ("text", "html")
    view: Json = {
        "message_id": message.message_id,
        "version": message.version,
        "from_bot": message.from_bot,
        "date": message.date,
        "edited_at": message.edited_at,
        "text": None,
        "html": None,
        "caption": None,
        "caption_html": None,
        "entities": list(content.text.entities),
        "buttons": _buttons(content),
        "media": _media(content.media, files_url) if content.media else None,
        "media_group_id": message.media_group_id,
        "reply_to_message_id": message.reply_to.message_id if message.reply_to else None,
        "service": message.service or None,
        "reactions": message.reactions,
        "edit_count": len(message.edits),
        "deleted": message.deleted,
    }
    if content.text.text:
        view |= {name: content.text.text, html_name: content.text.as_html()}
    return view


def person_view(person: Person) -> Json:
    return {
        "id": person.id,
        "first_name": person.first_name,
        "username": person.username,
        "language_code": person.language_code,
    }


def _buttons(content: Content) -> list[list[Json]]:
    return [[{"callback_data": None, **button} for button in row] for row in content.buttons or []]


def _media(media: Media, files_url: str) -> Json:
    looks = media.file.looks
    thumbnail = media.cover[-1] if media.cover else media.file.thumbnail
    return {
        "kind": media.kind,
        "file_id": media.file.file_id,
        "url": f"{files_url}/{media.file.file_id}",
        "thumbnail_url": f"{files_url}/{thumbnail.file_id}" if thumbnail else None,
        "name": looks.name,
        "mime_type": looks.mime_type,
        "width": looks.width,
        "height": looks.height,
        "duration": looks.duration,
        "size": media.file.blob.size,
    }
