"""Photos and videos: check what came in, make what goes out. Synchronous and heavy, so callers run it in threads."""
