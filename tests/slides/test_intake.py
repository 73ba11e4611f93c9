"""Bad files: each a coded error with a remedy, before anything large is allocated."""

import os
import shutil

import numpy as np
import psutil
import pytest

from pellucid.core.seeds import generator
from pellucid.slides import (
    DimensionsImplausible,
    FileDamaged,
    FileEmpty,
    FileForbidden,
    FileIsFolder,
    FileMissing,
    FileUnsupported,
    identify,
    open_slide,
)
from pellucid.slides.intake import check_extent


def refused(path, kind):
    with pytest.raises(kind) as caught:
        open_slide(path)
    assert caught.value.code.startswith("PEL-SLIDE-")
    assert caught.value.remedy
    return str(caught.value)


def test_missing_file(tmp_path):
    refused(tmp_path / "gone.svs", FileMissing)
    with pytest.raises(FileMissing):
        identify(tmp_path / "gone.svs")


def test_folder(tmp_path):
    assert "folder" in refused(tmp_path, FileIsFolder)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.svs"
    path.touch()
    refused(path, FileEmpty)


def test_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "closed.svs"
    path.write_bytes(b"II*\0")
    path.chmod(0)
    if os.geteuid() != 0:
        refused(path, FileForbidden)
        return
    os.seteuid(65534)
    try:
        refused(path, FileForbidden)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["noise.svs", "noise.tif", "noise.ndpi", "noise.mrxs", "noise.dcm", "noise"])
def test_random_bytes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(generator("random bytes").bytes(50_000))
    refused(path, FileUnsupported)


def test_text_named_svs(tmp_path):
    path = tmp_path / "notes.svs"
    path.write_text("This is no slide.\n" * 100)
    refused(path, FileUnsupported)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_truncated_file_whose_directory_is_lost(tmp_path, section, share):
    path = tmp_path / "cut.tif"
    data = section.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refused(path, FileDamaged)


def test_truncated_file_whose_directory_is_left(tmp_path, section):
    data = bytearray(section.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    n_entries = int.from_bytes(data[first : first + 2], "little")
    link = first + 2 + 12 * n_entries
    data[link : link + 4] = bytes(4)
    for at in range(first + 2, link, 12):
        if int.from_bytes(data[at : at + 2], "little") == 325:
            counts = int.from_bytes(data[at + 8 : at + 12], "little")
            data[counts : counts + 4] = (1 << 30).to_bytes(4, "little")
    path = tmp_path / "cut.tif"
    path.write_bytes(data)
    assert "truncated" in refused(path, FileDamaged)


@pytest.mark.real
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs", "N1_BB_563479_1.ndpi"])
def test_truncated_real_file(tmp_path, real_slides, name, share):
    data = (real_slides / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, FileDamaged)


@pytest.mark.real
def test_whole_real_files_pass(real_slides):
    for path in sorted(real_slides.iterdir()):
        if path.name != "plain_tiff_no_pyramid.tif":
            open_slide(path).close()


@pytest.mark.real
def test_plain_tiff_is_unsupported(real_slides):
    refused(real_slides / "plain_tiff_no_pyramid.tif", FileUnsupported)


def claim(path, tags):
    """Overwrite long values of a TIFF's first directory."""
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    for at in range(first + 2, first + 2 + 12 * int.from_bytes(data[first : first + 2], "little"), 12):
        value = tags.get(int.from_bytes(data[at : at + 2], "little"))
        if value is not None:
            data[at + 8 : at + 12] = value.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("padding", [0, 4_000_000])
def test_huge_claimed_dimensions_in_a_tiny_file(tmp_path, slide_file, padding):
    path = slide_file(tmp_path / "huge.tif", np.full((256, 256, 3), 240, np.uint8), mpp=0.5)
    claim(path, dict.fromkeys((256, 257, 322, 323), 60_000))
    path.write_bytes(path.read_bytes() + bytes(padding))
    before = psutil.Process().memory_info().rss
    refused(path, DimensionsImplausible)
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_claimed_dimensions_beyond_the_listed_tiles(tmp_path, slide_file):
    path = slide_file(tmp_path / "huge.tif", np.full((256, 256, 3), 240, np.uint8), mpp=0.5)
    claim(path, {256: 400_000, 257: 400_000})
    refused(path, FileDamaged)


def test_extent_limits():
    check_extent(100_000, 80_000, 2_000_000)
    for width, height, size in ((100_000, 80_000, 1_000_000), (0, 10, 10**9), (1 << 31, 1, 10**12)):
        with pytest.raises(DimensionsImplausible):
            check_extent(width, height, size)


def test_every_error_has_a_code_and_a_remedy():
    from pellucid.core.errors import known_errors
    from pellucid.slides import errors

    codes = [code for code, kind in known_errors().items() if kind.__module__ == errors.__name__]
    assert codes == [f"PEL-SLIDE-{number:03d}" for number in range(1, len(codes) + 1)]
    assert all(known_errors()[code].remedy for code in codes)


def test_identity_is_of_the_bytes_not_the_name(tmp_path, section):
    import hashlib

    copy = tmp_path / "other.svs"
    shutil.copy(section, copy)
    assert identify(copy) == identify(section)
    assert identify(copy).digest == hashlib.sha256(section.read_bytes()).hexdigest()
    assert identify(copy).size_bytes == section.stat().st_size
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert identify(copy).digest != identify(section).digest


def test_identity_of_a_mirax_scan_covers_its_folder(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place / "scan").mkdir(parents=True)
        (tmp_path / place / "scan.mrxs").write_bytes(b"x")
        (tmp_path / place / "scan" / "Slidedat.ini").write_bytes(b"index")
        (tmp_path / place / "scan" / "Data0000.dat").write_bytes(b"pixels")
    first, second = (identify(tmp_path / place / "scan.mrxs") for place in ("a", "b"))
    assert first == second
    assert (first.n_files, first.size_bytes) == (3, 12)
    (tmp_path / "b" / "scan" / "Data0000.dat").write_bytes(b"Pixels")
    assert identify(tmp_path / "b" / "scan.mrxs").digest != first.digest


@pytest.mark.real
def test_identity_of_a_dicom_series_is_the_same_from_any_instance(tmp_path, real_slides):
    data = (real_slides / "multiframe_camelyon_challenge_image.dcm").read_bytes()
    (tmp_path / "one.dcm").write_bytes(data)
    alone = identify(tmp_path / "one.dcm")
    (tmp_path / "two.dcm").write_bytes(data + b"\0\0")
    (tmp_path / "notes.txt").write_text("no instance")
    both = identify(tmp_path / "one.dcm")
    assert alone.n_files == 1
    assert both.n_files == 2
    assert identify(tmp_path / "two.dcm") == both
