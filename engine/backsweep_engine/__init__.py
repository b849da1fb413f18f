"""The engine of backsweep: graphs, their derivatives, plans and executors. It knows no socket and no protobuf."""

__version__ = "0.1.0"
