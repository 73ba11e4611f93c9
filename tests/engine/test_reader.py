import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from pellucid.engine.messages import (
    Identified,
    Identify,
    Illustrate,
    Illustrated,
    Prepare,
    Prepared,
    ReadTiles,
    Refused,
    Role,
    Setup,
    Target,
    TilesRead,
)
from pellucid.engine.open_scans import OpenScans
from pellucid.engine.reader import Reader
from pellucid.slides import assess_quality, find_tissue, identify, lay_grid, open_slide, read_tiles
from pellucid.slides.fingerprint import fingerprint
from pellucid.slides.identity import FileUnhashable

MODULE = "pellucid.engine.reader"


@pytest.fixture(scope="session")
def seen(slide):
    """What one process sees of the slide: `(grid, quality, tiles)`."""
    with open_slide(slide) as one:
        tissue = find_tissue(one)
        grid = lay_grid(one.info, tissue, tile_px=224, mpp=0.5)
        report = assess_quality(one, tissue, grid)
        tiles = np.concatenate([batch.pixels for batch in read_tiles(one, grid, batch_size=16)])
    return grid, report, tiles


@pytest.fixture(scope="session")
def damaged(slide, tmp_path_factory):
    """The slide with garbage for one compressed block in the middle of its tissue."""
    path = Path(shutil.copyfile(slide, tmp_path_factory.mktemp("damaged") / "damaged.svs"))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        block = len(page.dataoffsets) // 2 + page.imagewidth // page.tilewidth // 2
        offset, count = page.dataoffsets[block], page.databytecounts[block]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff\xd8" + b"?" * (count - 2))
    return path


def reading(file, geometry, grid, rows, *targets, job=1):
    return ReadTiles(
        job=job, file=file, geometry=geometry, level0_px=grid.level0_px, coords=grid.coords[rows], targets=targets
    )


def open_slides(pid, folder):
    names = set()
    for link in list(Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            names |= {link.readlink().name} if link.readlink().parent == folder else set()
    return names


def test_a_reader_never_holds_torch_nor_a_database(play, slide, scan_file, geometry):
    async def scene(start):
        one = await start(MODULE)
        await one.ask(Prepare(job=1, file=scan_file(slide), geometry=geometry))
        return Path(f"/proc/{one.child.pid}/maps").read_text()

    maps = play(scene)
    assert "cv2" in maps
    assert "torch" not in maps
    assert "sqlalchemy" not in maps
    script = "import sys, pellucid.engine.reader; print({'torch', 'sqlalchemy', 'pellucid.records'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_file_is_identified_with_its_fingerprint_and_steps(play, tmp_path):
    path = tmp_path / "large.svs"
    with path.open("wb") as file:
        file.truncate(200 << 20)

    async def scene(start):
        one = await start(MODULE)
        return await one.ask(Identify(job=3, path=path)), one.steps

    answer, steps = play(scene)
    assert answer == Identified(job=3, identity=identify(path), fingerprint=fingerprint(path))
    assert steps == 3


def test_a_prepared_scan_is_what_one_process_sees(play, slide, scan_file, geometry, seen):
    grid, report, _ = seen

    async def scene(start):
        one = await start(MODULE)
        answer = await one.ask(Prepare(job=4, file=scan_file(slide, fingerprint(slide)), geometry=geometry))
        return answer, one.steps

    answer, steps = play(scene)
    assert isinstance(answer, Prepared)
    assert np.array_equal(answer.grid.coords, grid.coords)
    assert np.array_equal(answer.grid.tissue_fraction, grid.tissue_fraction)
    assert (answer.grid.level0_px, answer.grid.columns) == (grid.level0_px, grid.columns)
    assert answer.quality == report.quality
    assert answer.seen == report.features
    assert set(answer.pictures) == {"thumbnail", "tissue", *report.pictures}
    for name, pixels in report.pictures.items():
        decoded = cv2.imdecode(np.frombuffer(answer.pictures[name], np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(decoded, pixels)
    assert set(answer.seconds) == {"open", "tissue", "quality"}
    assert all(value > 0 for value in answer.seconds.values())
    assert steps >= 3


def test_a_scan_without_tissue_is_prepared_with_an_empty_grid(play, scan_file, geometry, tmp_path):
    path, glass = tmp_path / "glass.tif", np.full((2048, 2048, 3), 243, np.uint8)
    tifffile.imwrite(path, glass, tile=(256, 256), photometric="rgb", resolution=(20_000, 20_000), resolutionunit=3)

    async def scene(start):
        one = await start(MODULE)
        return await one.ask(Prepare(job=1, file=scan_file(path), geometry=geometry))

    answer = play(scene)
    assert isinstance(answer, Prepared)
    assert len(answer.grid) == 0


@pytest.mark.parametrize("parts", [[(1, 0, 8)], [(0, 3, 5), (2, 0, 3)], [(2, 7, 1), (0, 0, 4), (1, 2, 3)]])
def test_tiles_land_in_their_places_and_nowhere_else(play, buffers, slide, scan_file, geometry, seen, parts):
    grid, _, tiles = seen
    rows = np.array([5, 6, 7, 20, 21, 30, 31, 0])
    for slot in range(3):
        buffers.tiles(slot)[:] = 123

    async def scene(start):
        one = await start(MODULE)
        return await one.ask(reading(scan_file(slide), geometry, grid, rows, *(Target(*part) for part in parts)))

    answer = play(scene)
    assert isinstance(answer, TilesRead)
    assert answer.readable.all()
    assert 0 < answer.cpu_s < 30
    expected, at = [np.full_like(buffers.tiles(0), 123) for _ in range(3)], 0
    for slot, first, count in parts:
        expected[slot][first : first + count] = tiles[rows[at : at + count]]
        at += count
    for slot in range(3):
        assert np.array_equal(buffers.tiles(slot), expected[slot])


def test_an_unreadable_tile_is_zeros_and_said(play, buffers, damaged, scan_file, geometry):
    with open_slide(damaged) as one:
        grid = lay_grid(one.info, find_tissue(one), tile_px=224, mpp=0.5)
        batch = next(read_tiles(one, grid, batch_size=len(grid)))
    assert 0 < (~batch.readable).sum() < len(grid)
    bad = int(np.flatnonzero(~batch.readable)[0])
    rows = np.array([bad, *np.flatnonzero(batch.readable)[:3]])
    top = int(rows[1]), bad, int(rows[2])
    buffers.tiles(0)[:] = 99

    async def scene(start):
        one = await start(MODULE)
        file = scan_file(damaged)
        read = await one.ask(reading(file, geometry, grid, rows, Target(0, 0, 4)))
        drawn = await one.ask(
            Illustrate(job=2, file=file, geometry=geometry, grid=grid, readable=batch.readable, top=top)
        )
        return read, drawn

    read, drawn = play(scene)
    assert read.readable.tolist() == [False, True, True, True]
    assert not buffers.tiles(0)[0].any()
    assert np.array_equal(buffers.tiles(0)[1:4], batch.pixels[rows[1:]])
    assert isinstance(drawn, Illustrated)
    assert set(drawn.pictures) == {"tiles", "top_tile_1", "top_tile_3"}
    third = cv2.imdecode(np.frombuffer(drawn.pictures["top_tile_3"], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(third, batch.pixels[rows[2]])


def test_what_is_wrong_with_a_scan_is_refused_with_its_code_and_the_next_goes_on(
    play, slide, scan_file, geometry, tmp_path
):
    (tmp_path / "text.svs").write_text("no slide " * 100)
    cut = Path(shutil.copyfile(slide, tmp_path / "cut.svs"))
    os.truncate(cut, 40_000)

    async def scene(start):
        one = await start(MODULE)
        codes = []
        for name in ("missing.svs", "text.svs", "cut.svs"):
            answer = await one.ask(Prepare(job=1, file=scan_file(tmp_path / name), geometry=geometry))
            assert isinstance(answer, Refused)
            assert answer.remedy
            codes.append(answer.code)
        assert open_slides(one.child.pid, tmp_path) == set()
        assert isinstance(await one.ask(Prepare(job=2, file=scan_file(slide), geometry=geometry)), Prepared)
        return codes

    codes = play(scene)
    assert codes[:2] == ["PEL-SLIDE-001", "PEL-SLIDE-005"]
    assert codes[2] in {"PEL-SLIDE-005", "PEL-SLIDE-006", "PEL-SLIDE-007"}


def test_other_bytes_than_the_identified_ones_are_refused_before_and_after(
    play, slide, scan_file, geometry, tmp_path, seen
):
    path = Path(shutil.copyfile(slide, tmp_path / "scan.svs"))
    grid = seen[0]

    async def scene(start):
        one = await start(MODULE)
        file = scan_file(path, fingerprint(path))
        drawing = Illustrate(
            job=2, file=file, geometry=geometry, grid=grid, readable=np.ones(len(grid), bool), top=(3, 4)
        )
        assert isinstance(await one.ask(drawing), Illustrated)
        with path.open("ab") as more:
            more.write(b"\0")
        return await one.ask(drawing), await one.ask(reading(file, geometry, grid, [0], Target(0, 0, 1)))

    after, before = play(scene)
    assert after.code == before.code == "PEL-SLIDE-014"


def test_few_scans_are_held_open_and_none_for_long(play, buffers, slide, scan_file, geometry, seen, tmp_path):
    paths = [Path(shutil.copyfile(slide, tmp_path / f"{n}.svs")) for n in range(4)]
    grid = seen[0]

    async def scene(start):
        one = await start(MODULE)
        for path in (*paths, paths[2], *paths):
            await one.ask(reading(scan_file(path), geometry, grid, [0, 1], Target(0, 0, 2)))
            held = open_slides(one.child.pid, tmp_path)
            assert path.name in held
            assert len(held) <= 2

    play(scene)
    reader = Reader(Setup(role=Role.READER, number=0, buffers=buffers.shape), buffers)
    reader.do(reading(scan_file(paths[0]), geometry, grid, [0, 1], Target(0, 0, 2)), step=lambda: None, waited_s=0.0)
    assert open_slides(os.getpid(), tmp_path) == {"0.svs"}
    reader.rest()
    assert open_slides(os.getpid(), tmp_path) == set()


def test_a_share_that_goes_away_is_said_and_its_scan_let_go(slide, scan_file):
    scans = OpenScans()
    with scans.using(scan_file(slide)) as scan:
        first = scan
    with pytest.raises(FileUnhashable, match="Stale"), scans.using(scan_file(slide)):
        raise OSError(errno.ESTALE, "Stale file handle")
    with scans.using(scan_file(slide)) as scan:
        assert scan is not first
    scans.close()


@pytest.mark.slow
def test_memory_and_files_stay_flat_over_many_scans(play, slide, scan_file, geometry, seen, tmp_path):
    paths = [Path(shutil.copyfile(slide, tmp_path / f"{n}.svs")) for n in range(4)]
    grid = seen[0]

    async def scene(start):
        one = await start(MODULE)
        vitals = []
        for turn in range(300):
            file = scan_file(paths[turn % 4])
            answer = await one.ask(reading(file, geometry, grid, np.arange(8), Target(0, 0, 8)))
            assert answer.readable.all()
            if turn % 50 == 0:
                await one.ask(Prepare(job=1, file=file, geometry=geometry))
            vitals.append((one.child.rss_bytes, one.child.n_files))
        return vitals

    vitals = play(scene)
    assert vitals[-1][0] < vitals[100][0] + (8 << 20)
    assert max(n_files for _, n_files in vitals) <= vitals[100][1] + 2
