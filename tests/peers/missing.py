"""What is said of an op JAX has nothing like."""


class NoPeer(Exception):
    """The argument is the op's name."""
