"""One adapter per outside service. Each translates what its service says into the words of `neurocards.domain`."""
