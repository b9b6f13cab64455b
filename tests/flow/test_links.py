"""T04: a link in a seller's words is text. Nobody here opens it, on its whole way to the finished video."""

import socket

from flow.rig import Rig
from neurocards.domain.generations import GenerationState
from shop import new_customer, new_draft, place


async def test_t04_a_link_in_the_words_is_opened_by_nobody(rig: Rig, photo: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        link = f"http://127.0.0.1:{listener.getsockname()[1]}/photo.jpg"
        words = f"A mug, see {link} or [here]({link}) <img src='{link}'> file:///etc/passwd"
        customer = await new_customer(rig.database, free=1)
        await rig.store.put("photos/1", photo)
        draft_id = await new_draft(rig.database, customer, description=words, wishes=f"as in {link}")
        await place(rig.database, draft_id)
        (generation,) = await rig.finish(draft_id)
        assert generation.state is GenerationState.COMPLETED
        try:
            listener.accept()
        except BlockingIOError:
            return
        raise AssertionError("somebody opened the link")
