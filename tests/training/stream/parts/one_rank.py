"""One rank that streams steps and writes down what it got: `folder of slides, folder of results, slide to lose`."""

import sys
from pathlib import Path

import numpy as np

import tile_slides
from pellucid.training.ranks import joined_ranks
from pellucid.training.stream import FailureBook, StreamPlan, TileStream

PLAN = StreamPlan(seed=3, epochs=4, share=0.5, tiles=40, chunk=8, ahead=2, max_failed=0.34)


def main():
    slides, results, lost = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    scans = tile_slides.all_scans(slides)
    with joined_ranks() as ranks:
        book = FailureBook(results / "failures.jsonl", ranks)
        with TileStream(scans, PLAN, spec=tile_slides.spec(), ranks=ranks, failures=book, readers=1) as stream:
            for step in range(9):
                if step == 1 and ranks.is_first:
                    lost.unlink()
                ranks.wait()
                taken = stream.get(step)
                np.savez(
                    results / f"{ranks.rank}-{step}.npz",
                    scan=taken.scan.entry.slide,
                    tiles=taken.tiles,
                    rows=taken.rows,
                    chunks=taken.chunks,
                    n_chunks=taken.n_chunks,
                    pixels=taken.pixels,
                )
                stream.release(taken)


if __name__ == "__main__":
    main()
