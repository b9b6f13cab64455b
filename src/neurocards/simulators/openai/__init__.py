"""A stand-in for OpenAI's prompt writing side: responses and chat completions with structured output."""
