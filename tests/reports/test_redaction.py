import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.reports import without_paths


@pytest.mark.parametrize(
    "text",
    [
        "Can't open /data/Smith_John.svs.",
        "Can't open '/data/Smith John/slide 1.svs' for reading.",
        "Can't open Smith.ndpi now.",
        r"Can't open C:\slides\Smith\1.tif today.",
        r"Can't open \\server\share\Smith today.",
        "Can't open file:///mnt/Smith/a.dcm here.",
        "Can't open ~/Smith/scan here.",
        "Can't open relative/Smith.tiff here.",
    ],
)
def test_a_path_never_reaches_a_page(text: str):
    cleaned = without_paths(text)
    assert "Smith" not in cleaned
    assert "[file]" in cleaned
    assert cleaned.startswith("Can't open")


@pytest.mark.parametrize(
    "text",
    [
        "0.5 um/px (limit: at most 2)",
        "H&E and/or IHC",
        "12/50 tiles",
        "Give the um/px in the column mpp.",
        "1.5 mm / 2 mm",
    ],
)
def test_units_and_ratios_stay(text: str):
    assert without_paths(text) == text


@given(st.text(max_size=200))
def test_cleaning_twice_changes_nothing_more(text: str):
    once = without_paths(text)
    assert without_paths(once) == once
