"""Words, not code: texts, templates and models. `neurocards.catalogue` and `neurocards.texts` read them."""
