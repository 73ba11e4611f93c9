from pellucid.domain.scan import ScanIdentity

IDENTITY = ScanIdentity(digest="d" * 64, size_bytes=2**40, n_files=3)


def test_file_is_known_while_its_fingerprint_is_the_same(ward):
    assert ward.records.known_identity("/a.svs", "f1") is None
    ward.records.remember_identity("/a.svs", "f1", IDENTITY)
    assert ward.records.known_identity("/a.svs", "f1") == IDENTITY
    assert ward.records.known_identity("/a.svs", "f2") is None
    assert ward.records.known_identity("/b.svs", "f1") is None


def test_later_identity_takes_the_place_of_the_earlier(ward):
    changed = ScanIdentity(digest="e" * 64, size_bytes=1)
    ward.records.remember_identity("/a.svs", "f1", IDENTITY)
    ward.records.remember_identity("/a.svs", "f2", changed)
    assert ward.records.known_identity("/a.svs", "f1") is None
    assert ward.records.known_identity("/a.svs", "f2") == changed


def test_path_that_is_long_or_no_text_is_known_too(ward):
    for path in ("/" + "ü" * 4000, "/\udcff.svs", "/nul\x00.svs"):
        ward.records.remember_identity(path, "f1", IDENTITY)
        assert ward.records.known_identity(path, "f1") == IDENTITY
