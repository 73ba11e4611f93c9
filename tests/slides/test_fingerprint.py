import os
import shutil

import pytest

from pellucid.slides import FileEmpty, FileMissing, identify
from pellucid.slides.fingerprint import FileChanged, fingerprint, require_unchanged


def series(path, uid):
    head = bytes(128) + b"DICM" + b"\x20\x00\x0e\x00UI"
    path.write_bytes(head + len(uid).to_bytes(2, "little") + uid)


def mirax(folder):
    (folder / "scan").mkdir(parents=True)
    (folder / "scan.mrxs").write_bytes(b"x")
    (folder / "scan" / "Slidedat.ini").write_bytes(b"index")
    return folder / "scan.mrxs"


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.svs"
    path.write_bytes(b"a slide")
    return path


def test_a_file_that_is_left_alone_keeps_its_fingerprint(scan):
    before = fingerprint(scan)
    scan.read_bytes()
    assert fingerprint(scan) == before
    require_unchanged(scan, before)


def append(path):
    with path.open("ab") as file:
        file.write(b"!")


def rewrite(path):
    state = path.stat()
    path.write_bytes(b"b slide")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def replace(path):
    """Other bytes of the same length and time under the same name, as `rsync --times` leaves them."""
    state = path.stat()
    other = path.with_name("incoming")
    other.write_bytes(b"c slide")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [append, rewrite, replace])
def test_any_change_of_the_file_is_refused(scan, change):
    before = fingerprint(scan)
    change(scan)
    with pytest.raises(FileChanged):
        require_unchanged(scan, before)


def test_a_copy_is_another_file_though_its_bytes_are_the_same(scan, tmp_path):
    copy = shutil.copy2(scan, tmp_path / "elsewhere.svs")
    assert identify(copy) == identify(scan)
    assert fingerprint(copy) != fingerprint(scan)


def test_a_mirax_scan_changes_with_any_file_of_its_folder(tmp_path):
    path = mirax(tmp_path)
    seen = {fingerprint(path)}
    (tmp_path / "scan" / "Data0000.dat").write_bytes(b"pixels")
    seen.add(fingerprint(path))
    append(tmp_path / "scan" / "Data0000.dat")
    seen.add(fingerprint(path))
    (tmp_path / "scan" / "Data0000.dat").unlink()
    seen.add(fingerprint(path))
    assert len(seen) == 3, "without its data file the scan is the one it was at first"


def test_a_dicom_series_changes_with_an_instance_that_arrives_later(tmp_path):
    series(tmp_path / "1.dcm", b"1.2.3\0")
    before = fingerprint(tmp_path / "1.dcm")
    series(tmp_path / "of another series.dcm", b"1.2.4\0")
    assert fingerprint(tmp_path / "1.dcm") == before
    series(tmp_path / "2.dcm", b"1.2.3\0")
    assert fingerprint(tmp_path / "1.dcm") != before


def test_an_instance_that_is_rewritten_into_another_series_leaves_the_scan(tmp_path):
    for name in ("1.dcm", "2.dcm"):
        series(tmp_path / name, b"1.2.3\0")
    assert identify(tmp_path / "1.dcm").n_files == 2
    series(tmp_path / "2.dcm", b"1.2.4\0\0\0")
    assert identify(tmp_path / "1.dcm").n_files == 1


def test_a_file_that_is_gone_or_empty_has_no_fingerprint(scan):
    before = fingerprint(scan)
    scan.write_bytes(b"")
    with pytest.raises(FileEmpty):
        require_unchanged(scan, before)
    scan.unlink()
    with pytest.raises(FileMissing):
        require_unchanged(scan, before)
