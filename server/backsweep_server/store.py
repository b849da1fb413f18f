"""The blob store: bytes by (tenant, digest), bounded in bytes.

A blob is kept while it is pinned (by work under way) or leased (for some time after upload, use or
FindMissing). Only when room is needed do others go, the least recently used first; if that is not
enough the answer is BUSY. Bytes that are on their way count like stored ones.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from backsweep.wire.arrays import Digest, digest_of
from backsweep.wire.errors import MissingBlobs, Unavailable
from backsweep_engine.errors import GraphError

DEFAULT_TENANT = "default"

MOST_WAIT_SECONDS = 30.0
"""A full store is asked again after at most this long."""


@dataclass(slots=True)
class _Blob:
    data: memoryview
    leased_until: float
    pins: int = 0


class Store:
    """Blobs of all tenants. `capacity_bytes`: for each tenant. `clock`: seconds, never going back."""

    def __init__(self, capacity_bytes: int, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity_bytes = capacity_bytes
        self.lease_seconds = lease_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._blobs: OrderedDict[tuple[str, Digest], _Blob] = OrderedDict()
        self._used: dict[str, int] = {}

    def missing(self, tenant: str, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those that are not here, each once, in order. The lease of the others is renewed."""
        with self._lock:
            return tuple(digest for digest in dict.fromkeys(digests) if self._touched(tenant, digest) is None)

    @contextmanager
    def pinned(self, tenant: str, digests: Iterable[Digest]) -> Iterator[dict[Digest, memoryview]]:
        """The bytes of these blobs, which stay for as long as this is open. MissingBlobs lists all that are not here."""
        wanted = tuple(dict.fromkeys(digests))
        with self._lock:
            found = {digest: self._touched(tenant, digest) for digest in wanted}
            missing = [digest for digest, blob in found.items() if blob is None]
            if missing:
                raise MissingBlobs(
                    f"{len(missing)} of {len(wanted)} blobs are not here", digests=missing, got=str(missing[0]), hint="upload them, then repeat the call"
                )
            blobs = {digest: blob for digest, blob in found.items() if blob is not None}
            for blob in blobs.values():
                blob.pins += 1
        try:
            yield {digest: blob.data for digest, blob in blobs.items()}
        finally:
            with self._lock:
                for blob in blobs.values():
                    blob.pins -= 1
                    blob.leased_until = self._clock() + self.lease_seconds

    def put(self, tenant: str, data: bytes) -> Digest:
        """Stores bytes of the server's own: a derived graph."""
        digest = digest_of(data)
        if self.missing(tenant, [digest]):
            self.reserve(tenant, digest)
            self.keep(tenant, digest, memoryview(data))
        return digest

    # A blob that comes in pieces: reserve, then keep or release.

    def reserve(self, tenant: str, digest: Digest) -> None:
        """Makes room for a blob: TOO_LARGE if it never fits, BUSY if it does not now."""
        size = digest.size_bytes
        if size > self.capacity_bytes:
            raise GraphError(
                "a blob is larger than the store", reason="TOO_LARGE", name="max_blob_bytes", got=f"{size} bytes", allowed=f"{self.capacity_bytes}"
            )
        with self._lock:
            now = self._clock()
            free = self.capacity_bytes - self._used.get(tenant, 0)
            going = []
            for key, blob in self._blobs.items():
                if free >= size:
                    break
                if key[0] == tenant and not blob.pins and blob.leased_until <= now:
                    going.append(key)
                    free += key[1].size_bytes
            if free < size:
                ends = [blob.leased_until - now for key, blob in self._blobs.items() if key[0] == tenant and not blob.pins]
                after = min([MOST_WAIT_SECONDS, *[end for end in ends if end > 0]])
                raise Unavailable(
                    "the store is full of blobs that are in use", after=max(1.0, after), got=f"{size} bytes", allowed=f"{free} bytes now", name="store_bytes"
                )
            for key in going:
                del self._blobs[key]
            self._used[tenant] = self.capacity_bytes - free + size

    def keep(self, tenant: str, digest: Digest, data: memoryview) -> None:
        """Stores bytes that room was reserved for and whose digest was checked."""
        with self._lock:
            if (tenant, digest) in self._blobs:  # another upload was faster
                self._used[tenant] -= digest.size_bytes
            else:
                self._blobs[tenant, digest] = _Blob(data.toreadonly(), 0.0)
            self._touched(tenant, digest)

    def release(self, tenant: str, digest: Digest) -> None:
        """Gives back room that was reserved for nothing."""
        with self._lock:
            self._used[tenant] -= digest.size_bytes

    def used_bytes(self, tenant: str) -> int:
        with self._lock:
            return self._used.get(tenant, 0)

    def _touched(self, tenant: str, digest: Digest) -> _Blob | None:
        blob = self._blobs.get((tenant, digest))
        if blob is not None:
            blob.leased_until = self._clock() + self.lease_seconds
            self._blobs.move_to_end((tenant, digest))
        return blob


def room_for(digest: Digest) -> memoryview:
    """Writable memory for a blob; what is not written costs no page."""
    return np.empty(digest.size_bytes, np.uint8).data
