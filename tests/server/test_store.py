"""The blob store by itself, under a clock that the test sets."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backsweep.wire.arrays import Digest, digest_of
from backsweep.wire.errors import MissingBlobs, Unavailable
from backsweep_engine.errors import GraphError
from backsweep_server.store import Store
from backsweep_server.upload import Incoming

LEASE = 600.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(100, LEASE, clock)


def blob(letter: str, size: int = 40) -> bytes:
    return letter.encode() * size


def has(store: Store, letter: str, size: int = 40, tenant: str = "t") -> bool:
    """Whether a blob is there; asks without renewing its lease."""
    return (tenant, digest_of(blob(letter, size))) in store._blobs


def test_what_is_put_is_found_under_its_digest_only(store: Store) -> None:
    digest = store.put("t", blob("a"))
    assert digest == digest_of(blob("a"))
    other_size = Digest(digest.sha256, 41)
    assert store.missing("t", [digest, other_size, other_size]) == (other_size,)
    with store.pinned("t", [digest]) as blobs:
        assert bytes(blobs[digest]) == blob("a")
        assert blobs[digest].readonly


def test_tenants_do_not_see_each_other(store: Store) -> None:
    digest = store.put("mine", blob("a"))
    assert store.missing("theirs", [digest]) == (digest,)
    with pytest.raises(MissingBlobs), store.pinned("theirs", [digest]):
        pass
    store.put("theirs", blob("a", 90))  # a capacity of their own
    assert store.used_bytes("mine") == 40
    assert store.used_bytes("theirs") == 90


def test_a_leased_blob_is_never_evicted(store: Store, clock: Clock) -> None:
    store.put("t", blob("a"))
    clock.now += 100
    store.put("t", blob("b"))
    with pytest.raises(Unavailable) as busy:
        store.put("t", blob("c"))
    assert busy.value.reason == "BUSY"
    assert busy.value.after == 30  # at most
    clock.now += 490
    with pytest.raises(Unavailable) as busy:
        store.put("t", blob("c"))
    assert busy.value.after == 10  # the first lease ends then
    assert has(store, "a")


def test_without_leases_the_least_recently_used_goes_first(store: Store, clock: Clock) -> None:
    for letter in "ab":
        store.put("t", blob(letter))
    clock.now += 1
    with store.pinned("t", [digest_of(blob("a"))]):
        pass
    clock.now += LEASE + 1
    store.put("t", blob("c"))
    assert [letter for letter in "abc" if has(store, letter)] == ["a", "c"]
    assert store.used_bytes("t") == 80


def test_find_missing_renews_the_lease(store: Store, clock: Clock) -> None:
    for letter in "ab":
        store.put("t", blob(letter))
    clock.now += LEASE - 1
    assert not store.missing("t", [digest_of(blob("a"))])
    clock.now += 2
    store.put("t", blob("c"))
    assert [letter for letter in "abc" if has(store, letter)] == ["a", "c"]


def test_a_pinned_blob_is_never_evicted_and_has_a_lease_afterwards(store: Store, clock: Clock) -> None:
    digest = store.put("t", blob("a", 60))
    with store.pinned("t", [digest]), store.pinned("t", [digest]):
        clock.now += 2 * LEASE
        with pytest.raises(Unavailable):
            store.put("t", blob("b", 60))
    clock.now += LEASE - 1
    with pytest.raises(Unavailable):
        store.put("t", blob("b", 60))
    clock.now += 2
    store.put("t", blob("b", 60))
    assert not has(store, "a", 60)


def test_nothing_goes_if_that_would_not_make_enough_room(store: Store, clock: Clock) -> None:
    store.put("t", blob("a", 30))
    clock.now += LEASE + 1
    store.put("t", blob("b", 60))
    with pytest.raises(Unavailable):
        store.put("t", blob("c", 80))
    assert has(store, "a", 30)


def test_all_missing_blobs_are_named_and_nothing_is_pinned(store: Store, clock: Clock) -> None:
    here, away = store.put("t", blob("a", 60)), [digest_of(blob("x")), digest_of(blob("y"))]
    with pytest.raises(MissingBlobs) as missing, store.pinned("t", [away[0], here, away[1], away[0]]):
        pass
    assert list(missing.value.digests) == away
    clock.now += LEASE + 1
    store.put("t", blob("b", 60))
    assert not has(store, "a", 60)


def test_what_never_fits_is_too_large(store: Store) -> None:
    with pytest.raises(GraphError) as refused:
        store.reserve("t", Digest(bytes(32), 101))
    assert refused.value.reason == "TOO_LARGE"
    assert store.used_bytes("t") == 0


def test_an_upload_is_kept_when_its_last_byte_has_come(store: Store) -> None:
    data, digest = blob("a"), digest_of(blob("a"))
    with Incoming(store, "t") as incoming:
        incoming.add(digest, 0, data[:15])
        assert not has(store, "a")
        assert store.used_bytes("t") == 40
        incoming.add(None, 15, data[15:])
        assert has(store, "a")
        assert incoming.finish() == (digest,)


@pytest.mark.parametrize(
    "chunks, reason",
    [
        ([(True, 0, b"b" * 40)], "DIGEST_MISMATCH"),
        ([(True, 0, b"a" * 41)], "MALFORMED"),
        ([(True, 0, b"a" * 10), (False, 11, b"a" * 29)], "MALFORMED"),
        ([(True, 0, b"a" * 10), (True, 0, b"a" * 40)], "MALFORMED"),
        ([(False, 0, b"a" * 40)], "MALFORMED"),
        ([(True, 0, b"a" * 10)], "MALFORMED"),
    ],
)
def test_a_bad_upload_leaves_nothing_behind(store: Store, chunks: list[tuple[bool, int, bytes]], reason: str) -> None:
    def upload() -> None:
        with Incoming(store, "t") as incoming:
            for first, offset, data in chunks:
                incoming.add(digest_of(blob("a")) if first else None, offset, data)
            incoming.finish()

    with pytest.raises(GraphError) as refused:
        upload()
    assert refused.value.reason == reason
    assert store.used_bytes("t") == 0
    assert not has(store, "a")


def test_a_blob_that_is_there_is_checked_and_not_kept_twice(store: Store) -> None:
    digest = store.put("t", blob("a"))
    with Incoming(store, "t") as incoming:
        incoming.add(digest, 0, blob("a"))
        assert incoming.finish() == (digest,)
    with pytest.raises(GraphError), Incoming(store, "t") as incoming:
        incoming.add(digest, 0, blob("b"))
    assert has(store, "a")
    assert store.used_bytes("t") == 40


def test_two_uploads_of_one_blob_at_once_are_one_blob(store: Store) -> None:
    digest = digest_of(blob("a"))
    with Incoming(store, "t") as first, Incoming(store, "t") as second:
        first.add(digest, 0, blob("a")[:20])
        second.add(digest, 0, blob("a")[:20])
        assert store.used_bytes("t") == 80
        first.add(None, 20, blob("a")[20:])
        second.add(None, 20, blob("a")[20:])
    assert store.used_bytes("t") == 40


def test_many_threads_keep_the_books() -> None:
    store = Store(1000, 0.0)  # a lease ends at once
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait(10)
        for k in range(100):
            data = bytes([(number * k) % 50]) * 90
            try:
                digest = store.put("t", data)
                with store.pinned("t", [digest]) as blobs:
                    assert bytes(blobs[digest]) == data
            except (Unavailable, MissingBlobs):
                pass  # others were faster

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.used_bytes("t") == 90 * len(store._blobs) <= 1000
