import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.cohort import read_cohort, write_cohort, write_template
from pellucid.domain.cohort import Cohort, ScanEntry, Split

_word = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)

_diagnosis = st.sampled_from(["confirmed", "unconfirmed"])
_strata = st.builds(
    lambda strata, diagnosis: strata | ({"diagnosis": diagnosis} if diagnosis else {}),
    st.dictionaries(st.sampled_from(["site", "own", "procedure"]), _word),
    st.none() | _diagnosis,
)


@st.composite
def entries(draw: st.DrawFn, number: int) -> ScanEntry:
    return ScanEntry(
        case=f"{draw(_word)}{number}",
        specimen=f"{draw(_word)}{number}",
        block=draw(st.just("") | _word),
        slide=draw(_word),
        path=Path(f"slides/{number}.svs"),
        patient=f"{draw(_word)}{number}",
        split=draw(st.sampled_from([None, *Split])),
        label=draw(st.sampled_from([None, 0, 1])),
        strata=tuple(sorted(draw(_strata).items())),
        mpp=draw(st.none() | st.floats(0.05, 5.0)),
        n_scans=draw(st.none() | st.integers(1, 1000)),
    )


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    scans = tuple(draw(entries(number)) for number in range(draw(st.integers(1, 5))))
    return Cohort(entries=scans, name="cohort", synthetic=draw(st.booleans()))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=60, deadline=None)
@given(cohort=cohorts())
def test_a_cohort_survives_being_written_and_read(suffix, cohort):
    with tempfile.TemporaryDirectory() as folder:
        placed = dataclasses.replace(
            cohort, entries=tuple(dataclasses.replace(e, path=Path(folder) / e.path) for e in cohort.entries)
        )
        path = Path(folder) / f"cohort.{suffix}"
        write_cohort(placed, path)
        found = read_cohort(path)
    assert tuple(dataclasses.replace(entry, row=None) for entry in found.entries) == placed.entries
    assert found.synthetic == cohort.synthetic


def test_both_formats_have_one_digest(tmp_path, table):
    cohort = read_cohort(table("case,specimen,path,label,mpp", "C,S,a.svs,1,0.25", "D,T,b.svs,,"))
    digests = {cohort.digest}
    for name in ("out.csv", "out.parquet"):
        write_cohort(cohort, tmp_path / name)
        digests.add(read_cohort(tmp_path / name).digest)
    assert len(digests) == 1


def test_paths_outside_the_folder_stay_absolute(tmp_path, table):
    cohort = read_cohort(table("case,specimen,path", "C,S,a.svs"))
    write_cohort(cohort, tmp_path / "deeper" / "out.csv")
    assert read_cohort(tmp_path / "deeper" / "out.csv").entries[0].path == tmp_path / "a.svs"


def test_the_template_is_a_valid_table_whose_comments_are_skipped(tmp_path):
    path = tmp_path / "cohort.csv"
    write_template(path)
    cohort = read_cohort(path)
    assert len(cohort.entries) == 2
    assert not cohort.synthetic
    assert path.read_text().startswith("#")
