"""The error that ends a run with a sentence instead of a traceback."""


class Failure(Exception):
    """Something that ends the benchmark."""
