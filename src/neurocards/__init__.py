"""neurocards: product photos in, marketplace videos out."""

__version__ = "0.1.0"
