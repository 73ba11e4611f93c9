import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pellucid.training.joint import chunks_of, rows_of
from pellucid.training.joint.sharding import Chunk, chunks_by_number


@given(world=st.integers(1, 5), n=st.integers(1, 60), chunk=st.integers(1, 9))
def test_every_tile_is_one_ranks_and_a_chunk_is_never_divided(world, n, chunk):
    shares = [rows_of(rank, world, n, chunk) for rank in range(world)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(n))
    for rank, rows in enumerate(shares):
        chunks = chunks_of(rank, world, n, chunk)
        assert sum(each.stop - each.start for each in chunks) == len(rows)
        for each in chunks:
            held = rows[each.start : each.stop]
            assert each.number % world == rank
            assert each in chunks_by_number(rows // chunk)
            np.testing.assert_array_equal(held, np.arange(each.number * chunk, min(n, (each.number + 1) * chunk)))


def test_work_does_not_depend_on_the_number_of_ranks():
    one = {each.number: rows_of(0, 1, 11, 3)[each.start : each.stop].tolist() for each in chunks_of(0, 1, 11, 3)}
    three = {
        each.number: rows_of(rank, 3, 11, 3)[each.start : each.stop].tolist()
        for rank in range(3)
        for each in chunks_of(rank, 3, 11, 3)
    }
    assert one == three


def test_chunk_without_a_readable_tile_is_not_there():
    assert chunks_by_number(np.array([0, 0, 2, 5])) == [
        Chunk(number=0, start=0, stop=2),
        Chunk(number=2, start=2, stop=3),
        Chunk(number=5, start=3, stop=4),
    ]
    assert chunks_by_number(np.array([], dtype=np.int64)) == []
