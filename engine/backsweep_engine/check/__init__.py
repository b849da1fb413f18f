"""The check: whether a derivative is right, judged by differences of values, never by derivatives."""
