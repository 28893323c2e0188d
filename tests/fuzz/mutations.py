"""Changed seeds, for hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

Change = tuple[int, str, bytes]


def _changed(seed: bytes, changes: Sequence[Change]) -> bytes:
    data = bytearray(seed)
    for where, how, new in changes:
        at = where % (len(data) + 1)
        if how == "replace":
            data[at : at + len(new)] = new
        elif how == "insert":
            data[at:at] = new
        elif how == "remove":
            del data[at : at + 1 + len(new)]
        elif how == "repeat":
            data[at:at] = data[at : at + 16 * len(new)]
        else:
            del data[at:]
    return bytes(data)


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds, with up to four changes."""
    where = st.integers(0, max(map(len, seeds)))
    how = st.sampled_from(["replace", "insert", "remove", "repeat", "cut"])
    new = st.binary(min_size=1, max_size=8) | st.sampled_from(
        [b"\xff" * 4, bytes(8), b"-1", b"1e999", b"null", b"[]", b'"\\ud800"']
    )
    change = st.tuples(where, how, new)
    return st.builds(_changed, st.sampled_from(list(seeds)), st.lists(change, max_size=4))
