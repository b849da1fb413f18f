"""The limits of the wire, once: what proto/ states in prose. A server may accept less, never more.

Bytes unless the name says otherwise; KiB and MiB are powers of two.
"""

from backsweep_engine.graph import MAX_CONSTANT_BYTES, MAX_NESTING

__all__ = ["MAX_CONSTANT_BYTES", "MAX_NESTING"]

KIB = 1 << 10
MIB = 1 << 20

# Messages.

MAX_MESSAGE_BYTES = 4 * MIB
"""gRPC's own default; no message of the contract needs more."""
MAX_CHUNK_BYTES = MIB
"""Data in one chunk of a stream."""
MAX_INLINE_BYTES = 2 * MIB
"""All inline arrays of a request together."""
MAX_RESULT_BYTES = 2 * MIB
"""All results of a Compute, and those in a Done."""
MAX_ERROR_BYTES = 4 * KIB
"""A google.rpc.Status with its details."""

# Counts in requests.

MAX_QUERIES = 64
MAX_FIND_MISSING = 1000
MAX_DIRECTIONS = 1024
MAX_WORST = 64
MAX_SAMPLES = 100_000
"""Of an estimate."""
MAX_HAVE_RANGES = 10_000
MAX_MISSING_LISTED = 32
"""Blobs that one MISSING_BLOB lists."""

MAX_THROUGH = 64
"""Values a gauss_newton names."""

# Arrays and types.

MAX_RANK = 32
MAX_ARRAY_BYTES = (1 << 63) - 1
"""Of a type: item size times the lengths, lengths of 0 counted as 1."""
SHA256_BYTES = 32
RUN_ID_BYTES = 16

# A graph.

MAX_GRAPH_BYTES = 4 * MIB
MAX_NODES = 100_000
"""Nodes in all functions, inputs counted."""
MAX_EXPANDED_NODES = 1_000_000
"""The same with each function counted once for every use: nesting must not multiply work without end."""
MAX_OPERANDS = 1_000_000
"""In all functions."""
MAX_FUNCTIONS = 4096
MAX_OPS = 4096
"""Distinct op names."""
MAX_INPUTS = 4096
"""Of one function."""
MAX_OUTPUTS = 4096
"""Of one function."""
MAX_ALL_OUTPUTS = 100_000
"""Of all functions."""
MAX_ATTRIBUTE_RECORDS = 20_000
MAX_ATTRIBUTES = 16
"""In one record."""
MAX_INTS = 4096
"""In one list of integers."""
MAX_NAME_BYTES = 256
"""UTF-8 of the name of an input or output."""
MAX_OP_NAME_BYTES = 64
"""Of the name of an op or attribute, [a-z][a-z0-9_]*."""
MAX_TEXT_BYTES = 256
"""UTF-8 of a text attribute."""

# Leases.

MIN_LEASE_SECONDS = 600.0
"""How long, at least, a server keeps blobs it was sent or asked about (FindMissing)."""
