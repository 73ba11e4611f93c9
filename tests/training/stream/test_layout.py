import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tile_slides
from pellucid.slides import superblocks
from pellucid.training.stream.layout import jobs, lay_out, most_tiles


@pytest.fixture(scope="module")
def grid(pristine_slides):
    return tile_slides.all_scans(pristine_slides)[0].grid


DRAWN = st.sets(st.integers(0, 99), min_size=1).map(lambda tiles: np.array(sorted(tiles), np.int64))


@given(DRAWN, st.integers(1, 20), st.integers(1, 5))
def test_ranks_share_the_chunks_and_no_tile_twice(grid, drawn, chunk, world):
    alone, together = lay_out(grid, drawn, chunk, 1), lay_out(grid, drawn, chunk, world)
    assert np.array_equal(alone.tiles, together.tiles)
    assert np.array_equal(alone.chunks, together.chunks)
    assert sorted(alone.tiles.tolist()) == drawn.tolist()
    assert np.bincount(alone.chunks).max() <= chunk
    assert alone.n_chunks == -(-len(drawn) // chunk)
    places = [together.of(rank) for rank in range(world)]
    assert sorted(np.concatenate(places).tolist()) == list(range(len(drawn)))
    for rank, mine in enumerate(places):
        assert set((together.chunks[mine] % world).tolist()) <= {rank}
        assert len(mine) <= most_tiles(len(drawn), chunk, world)


@given(DRAWN, st.integers(1, 20), st.integers(1, 3))
def test_a_superblock_is_never_read_by_two_jobs(grid, drawn, chunk, world):
    layout = lay_out(grid, drawn, chunk, world)
    for rank in range(world):
        mine = layout.tiles[layout.of(rank)]
        if len(mine) == 0:
            continue
        block_of = np.empty(len(grid), np.int64)
        for nth, block in enumerate(superblocks(grid)):
            block_of[block] = nth
        runs = list(jobs(grid, mine))
        assert [first for first, _ in runs] == np.cumsum([0, *(count for _, count in runs[:-1])]).tolist()
        assert sum(count for _, count in runs) == len(mine)
        assert max(count for _, count in runs) <= 16
        blocks = [set(block_of[mine[first : first + count]].tolist()) for first, count in runs]
        assert sum(map(len, blocks)) == len(set.union(*blocks))
