"""Incoming: the blobs of one Upload stream, chunk by chunk, until their digest is checked.

Nothing is kept of a blob whose bytes are out of order, too many or not those of its digest; blobs
that were whole before stay stored.
"""

from __future__ import annotations

import hashlib
from types import TracebackType
from typing import Self

from backsweep.wire import limits
from backsweep.wire.arrays import Digest
from backsweep_engine.errors import GraphError

from .store import Store, room_for


class _Coming:
    """A blob on its way. `room` is None if the store has it already: then its bytes are checked only."""

    def __init__(self, digest: Digest, room: memoryview | None) -> None:
        self.digest = digest
        self.room = room
        self.at = 0
        self.hasher = hashlib.sha256()


class Incoming:
    """A context manager: `add` every chunk, then `finish`. Leaving it early gives back what was reserved."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._coming: _Coming | None = None
        self.stored: list[Digest] = []
        self.received_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drop()

    def add(self, digest: Digest | None, offset: int, data: bytes) -> None:
        """`digest`: with the first chunk of a blob, None with the others."""
        if len(data) > limits.MAX_CHUNK_BYTES:
            raise GraphError("a chunk is too large", reason="TOO_LARGE", name="max_chunk_bytes", got=f"{len(data)} bytes", allowed=f"{limits.MAX_CHUNK_BYTES}")
        if digest is not None:
            if self._coming is not None:
                raise GraphError("a blob begins before the last one is whole", got=str(digest), allowed=_rest(self._coming))
            self._coming = _Coming(digest, self._room(digest))
        coming = self._coming
        if coming is None:
            raise GraphError("a chunk belongs to no blob", name="digest", allowed="the first chunk of a blob has its digest")
        if offset != coming.at:
            raise GraphError("a chunk is out of order", name="offset_bytes", got=str(offset), allowed=str(coming.at))
        if coming.at + len(data) > coming.digest.size_bytes:
            raise GraphError("a blob has more bytes than its digest says", got=f"at least {coming.at + len(data)} bytes", allowed=f"{coming.digest.size_bytes}")
        if coming.room is not None:
            coming.room[coming.at : coming.at + len(data)] = data
        coming.hasher.update(data)
        coming.at += len(data)
        self.received_bytes += len(data)
        if coming.at == coming.digest.size_bytes:
            self._whole(coming)

    def finish(self) -> tuple[Digest, ...]:
        """The blobs stored, in the order sent."""
        if self._coming is not None:
            raise GraphError("the stream ended within a blob", got=f"{self._coming.at} bytes", allowed=_rest(self._coming))
        return tuple(self.stored)

    def _room(self, digest: Digest) -> memoryview | None:
        if not self._store.missing(self._tenant, [digest]):
            return None
        self._store.reserve(self._tenant, digest)
        return room_for(digest)

    def _whole(self, coming: _Coming) -> None:
        got = coming.hasher.digest()
        if got != coming.digest.sha256:
            raise GraphError(
                "the bytes are not those of the digest",
                reason="DIGEST_MISMATCH",
                got=got.hex(),
                allowed=coming.digest.sha256.hex(),
                hint="send the exact bytes that were hashed",
            )
        self._coming = None
        if coming.room is not None:
            self._store.keep(self._tenant, coming.digest, coming.room)
        self.stored.append(coming.digest)

    def _drop(self) -> None:
        if self._coming is not None and self._coming.room is not None:
            self._store.release(self._tenant, self._coming.digest)
        self._coming = None


def _rest(coming: _Coming) -> str:
    return f"{coming.digest.size_bytes} bytes of {coming.digest.sha256.hex()[:16]}..."
