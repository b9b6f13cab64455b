"""A rehearsal of disaster: sellers order while processes, database, Telegram, KIE and OpenAI fail all the time."""
