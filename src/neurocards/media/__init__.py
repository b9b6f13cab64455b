"""Photos and videos: check what came in, make what goes out.

`photos` and `videos` do the work, synchronous and heavy; `children` has it done in processes that hold no secret and
can reach nothing. Whatever a stranger made goes through `children`, called in threads.
"""
