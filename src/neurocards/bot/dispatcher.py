"""Everything that is said and tapped, wired in the order in which it is asked."""

from aiogram import Dispatcher

from neurocards.bot.admin import Admin
from neurocards.bot.cabinet import Cabinet
from neurocards.bot.conversation import Conversation
from neurocards.bot.door import Door
from neurocards.bot.greeting import Greeting
from neurocards.bot.people import Meeting
from neurocards.bot.pictures import Pictures
from neurocards.bot.questions import Questions
from neurocards.bot.repeats import Repeats
from neurocards.bot.taps import Taps
from neurocards.bot.withdrawing import Withdrawing
from neurocards.db.connection import Database
from neurocards.domain.catalogue import Catalogue
from neurocards.settings import Settings
from neurocards.storage import Store


def build_dispatcher(*, database: Database, store: Store, catalogue: Catalogue, settings: Settings) -> Dispatcher:
    """The dispatcher with all handlers. Updates are fed by `Handling`."""
    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.update.outer_middleware(Door(database, settings.operators))
    meeting = Meeting(database)
    for observer in (dispatcher.message, dispatcher.edited_message, dispatcher.callback_query):
        observer.outer_middleware(meeting)
    pictures = Pictures(database, store)
    questions = Questions(database, catalogue, pictures, support=settings.support)
    # Operators before all: they need not be customers. Then consent, then whatever knows its own; last the two that
    # answer anything that is left.
    dispatcher.include_routers(
        Admin(database, catalogue, settings).router(),
        Greeting(database, settings, questions).router(),
        Cabinet(database, catalogue, settings).router(),
        Repeats(database, questions, pictures).router(),
        Withdrawing(database).router(),
        Conversation(database, questions, pictures).router(),
        Taps(database, catalogue, settings, questions, pictures).router(),
    )
    return dispatcher
