import dataclasses
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pellucid.cohort import CohortInvalid, Problem, read_cohort
from pellucid.domain.cohort import Split


def problems_of(path):
    with pytest.raises(CohortInvalid) as caught:
        read_cohort(path)
    return [(problem.row, problem.column) for problem in caught.value.problems], caught.value


def test_every_column_is_read(table):
    path = table(
        "case,specimen,block,slide,path,patient,split,label,mpp,site,specimen_type,procedure,stratum_anatomy",
        "C1,C1-A,A1,S1,slides/a.svs,P1,training,mutated,0.25,north,biopsy,lobectomy,pleura",
    )
    (entry,) = read_cohort(path).entries
    assert (entry.case, entry.specimen, entry.block, entry.slide, entry.patient) == ("C1", "C1-A", "A1", "S1", "P1")
    assert entry.path == path.parent / "slides" / "a.svs"
    assert (entry.split, entry.label, entry.mpp, entry.row) == (Split.TRAINING, 1, 0.25, 2)
    assert dict(entry.strata) == {
        "site": "north",
        "specimen_type": "biopsy",
        "procedure": "lobectomy",
        "anatomy": "pleura",
    }


def test_defaults_of_what_a_table_leaves_out(table):
    cohort = read_cohort(table("path,specimen,case", "a.svs,S,C", "b.svs,S,C"))
    first, second = cohort.entries
    assert (first.patient, first.split, first.label, first.mpp, first.strata) == ("C", None, None, None, ())
    assert [first.slide, second.slide] == ["S-1", "S-2"]
    assert not cohort.synthetic


@pytest.mark.parametrize(
    ("cell", "label"),
    [("1", 1), ("true", 1), ("Mutated", 1), ("0", 0), ("FALSE", 0), ("wild-type", 0), ("wild type", 0), ("", None)],
)
def test_words_for_a_label(table, cell, label):
    assert read_cohort(table("case,specimen,path,label", f"C,S,a.svs,{cell}")).entries[0].label == label


@pytest.mark.parametrize(
    ("cell", "strata"),
    [("confirmed", {"diagnosis": "confirmed"}), ("Unconfirmed", {"diagnosis": "unconfirmed"}), ("", {})],
)
def test_words_for_a_diagnosis(table, cell, strata):
    (entry,) = read_cohort(table("case,specimen,path,diagnosis", f"C,S,a.svs,{cell}")).entries
    assert dict(entry.strata) == strata


@pytest.mark.parametrize("cell", ["yes", "1", "confirmed?", "not confirmed"])
def test_another_word_for_a_diagnosis_is_a_problem(table, cell):
    found, error = problems_of(table("case,specimen,path,diagnosis", f"C,S,a.svs,{cell}"))
    assert found == [(2, "diagnosis")]
    assert "use confirmed or unconfirmed; or leave it empty" in str(error)


def test_a_diagnosis_known_for_only_one_scan_of_a_specimen_is_no_contradiction(table):
    cohort = read_cohort(table("case,specimen,path,diagnosis", "C,S,a.svs,confirmed", "C,S,b.svs,"))
    assert [dict(entry.strata) for entry in cohort.entries] == [{"diagnosis": "confirmed"}, {}]


def test_scans_of_a_specimen_must_not_differ_in_diagnosis(table):
    _, error = problems_of(
        table("case,specimen,path,diagnosis", "C,S,a.svs,confirmed", "C,T,b.svs,unconfirmed", "C,S,c.svs,unconfirmed")
    )
    assert error.problems == (
        Problem(4, "diagnosis", "specimen 'S' has the diagnosis unconfirmed here, but confirmed in row 2"),
    )


@pytest.mark.parametrize("name", ["site", "diagnosis"])
def test_a_stratum_with_a_column_of_its_own_has_no_second_one(table, name):
    found, error = problems_of(table(f"case,specimen,path,stratum_{name}", "C,S,a.svs,confirmed"))
    assert found == [(1, f"stratum_{name}")]
    assert f"did you mean {name!r}?" in str(error)


def test_an_absolute_path_stays(table, tmp_path):
    elsewhere = tmp_path / "far" / "a.svs"
    assert read_cohort(table("case,specimen,path", f"C,S,{elsewhere}")).entries[0].path == elsewhere


def test_comments_blank_lines_and_a_byte_order_mark_are_skipped_and_lines_counted_with_them(table):
    path = table(
        "# a comment, with a comma", "case,specimen,path", "", "# more", 'C,"S, left",a.svs', encoding="utf-8-sig"
    )
    (entry,) = read_cohort(path).entries
    assert (entry.specimen, entry.row) == ("S, left", 5)


def test_all_problems_are_reported_together_with_row_and_column(table):
    path = table(
        "case,specimen,path,patient,split,label,mpp,speciment_type",
        "C1,S1,a.svs,P1,training,1,0.5,x",
        "C2,S2,b.svs,P1,test,maybe,0.5,x",
        "C3,S1,a.svs,P3,holdout,0,half,x",
        ",S4,,P4,test,0,9,x",
        "C5,S5,d.svs",
    )
    found, error = problems_of(path)
    assert set(found) == {
        (1, "speciment_type"),
        (3, "split"),
        (3, "label"),
        (4, "split"),
        (4, "mpp"),
        (4, "case"),
        (4, "patient"),
        (4, "label"),
        (4, "path"),
        (5, "case"),
        (5, "path"),
        (5, "mpp"),
        (6, None),
    }
    assert [row for row, _ in found] == sorted(row for row, _ in found)
    for problem in error.problems:
        assert str(problem) in str(error)
        assert str(problem) in error.message
    assert "did you mean 'specimen_type'?" in str(error)
    assert error.remedy in str(error)


def test_contradictions_name_both_rows(table):
    _, error = problems_of(table("case,specimen,path,patient,split", "C1,S1,a.svs,P1,training", "C2,S2,b.svs,P1,test"))
    assert error.problems == (Problem(3, "split", "patient 'P1' is in split test here, but training in row 2"),)


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (("C1,S1,a.svs,P1,1", "C2,S1,b.svs,P1,1"), "case"),
        (("C1,S1,a.svs,P1,1", "C1,S1,b.svs,P2,1"), "patient"),
        (("C1,S1,a.svs,P1,1", "C1,S1,b.svs,P1,0"), "label"),
        (("C1,S1,a.svs,P1,1", "C1,S1,./x/../a.svs,P1,1"), "path"),
    ],
)
def test_rows_must_not_contradict_each_other(table, rows, column):
    found, _ = problems_of(table("case,specimen,path,patient,label", *rows))
    assert found == [(3, column)]


def test_a_label_known_for_only_one_scan_of_a_specimen_is_no_contradiction(table):
    cohort = read_cohort(table("case,specimen,path,label", "C,S,a.svs,1", "C,S,b.svs,"))
    assert [entry.label for entry in cohort.entries] == [1, None]


def test_a_specimen_may_have_scans_without_a_row(table):
    cohort = read_cohort(table("case,specimen,path,n_scans", "C,S,a.svs,3", "C,S,b.svs,", "D,T,c.svs,", "E,U,d.svs,1"))
    assert [entry.n_scans for entry in cohort.entries] == [3, None, None, 1]
    assert cohort.n_expected() == {"S": 3, "T": 1, "U": 1}


def test_a_number_of_scans_below_the_rows_is_a_problem_where_it_is_said(table):
    _, error = problems_of(table("case,specimen,path,n_scans", "C,S,a.svs,", "C,S,b.svs,1", "D,T,c.svs,1"))
    assert error.problems == (Problem(3, "n_scans", "specimen 'S' has 1 scans here, but 2 rows name one"),)


def test_rows_of_a_specimen_agree_on_its_number_of_scans(table):
    _, error = problems_of(table("case,specimen,path,n_scans", "C,S,a.svs,3", "C,S,b.svs,4"))
    assert error.problems == (Problem(3, "n_scans", "specimen 'S' has 4 scans here, but 3 in row 2"),)


@pytest.mark.parametrize("cell", ["0", "-1", "1.5", "two", "²", "1001", "9" * 5000])
def test_no_number_of_scans(table, cell):
    found, _ = problems_of(table("case,specimen,path,n_scans", f"C,S,a.svs,{cell}"))
    assert found == [(2, "n_scans")]


@pytest.mark.parametrize("missing", ["case", "specimen", "path"])
def test_a_required_column_is_missing(table, missing):
    header = [name for name in ("case", "specimen", "path") if name != missing]
    found, _ = problems_of(table(",".join(header), "x,y"))
    assert (1, missing) in found


@pytest.mark.parametrize("mpp", ["0.049", "5.1", "nan", "inf", "-1", "0,5"])
def test_an_absurd_scale_is_refused(table, mpp):
    found, _ = problems_of(table("case,specimen,path,mpp", f'C,S,a.svs,"{mpp}"'))
    assert found == [(2, "mpp")]


def test_a_repeated_header_is_a_problem(table):
    found, _ = problems_of(table("case,specimen,path,case", "C,S,a.svs,C"))
    assert found == [(1, "case")]


def test_a_nameless_column_is_a_problem(table):
    found, _ = problems_of(table("case,specimen,path,", "C,S,a.svs,"))
    assert found == [(1, None)]


@pytest.mark.parametrize("lines", [(), ("",), ("# only a comment",), ("case,specimen,path",)])
def test_an_empty_table_is_a_problem(table, lines):
    found, error = problems_of(table(*lines))
    assert (None, None) in found
    assert "table" in str(error)


def test_semicolons_are_named_as_such(table):
    _, error = problems_of(table("case;specimen;path", "C;S;a.svs"))
    assert "separated by semicolons" in str(error)


def test_an_unclosed_quote_is_reported_and_not_swallowed(table):
    _, error = problems_of(table("case,specimen,path", 'C,"S,a.svs', "D,T,b.svs"))
    assert "is no CSV" in str(error)


def test_another_encoding_is_named_with_its_line(table):
    found, error = problems_of(table("case,specimen,path", "C,S,müller.svs", encoding="latin-1"))
    assert found == [(2, None)]
    assert "UTF-8" in str(error)


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PAR1 but nothing more", "case,specimen".encode("utf-16"), b"\xff\xfe\0\1"],
)
def test_a_file_that_is_no_table(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    _, error = problems_of(path)
    assert len(error.problems) == 1


def test_an_absent_table_and_a_folder(tmp_path):
    assert "can't be read" in str(problems_of(tmp_path / "none.csv")[1])
    assert "can't be read" in str(problems_of(tmp_path)[1])


def test_a_parquet_table_with_typed_columns(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(
        pa.table(
            {
                "case": ["C1", "C2"],
                "specimen": ["S1", "S2"],
                "path": ["a.svs", "b.svs"],
                "label": pa.array([True, None]),
                "mpp": pa.array([0.25, None]),
                "patient": pa.array([1, 2]),
            }
        ),
        path,
    )
    first, second = read_cohort(path).entries
    assert (first.label, first.mpp, first.patient, first.row) == (1, 0.25, "1", 1)
    assert (second.label, second.mpp, second.patient, second.row) == (None, None, "2", 2)


def test_a_parquet_problem_names_its_row(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"case": ["C1", "C2"], "specimen": ["S1", None], "path": ["a.svs", "b.svs"]}), path)
    assert problems_of(path)[0] == [(2, "specimen")]


def test_the_digest_is_of_the_content_not_of_its_form_or_place(tmp_path):
    lines = {
        "one": ["case,specimen,path,label", "C,S,a.svs,1"],
        "two": ["# x", "label,path,specimen,case", "mutated,a.svs,S,C"],
    }
    digests = []
    for folder, text in lines.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.csv").write_text("\n".join(text))
        digests.append(read_cohort(tmp_path / folder / f"{folder}.csv").digest)
    assert digests[0] == digests[1]
    assert len(digests[0]) == 64


def test_the_digest_is_the_same_by_any_way_to_the_table(table, tmp_path, monkeypatch):
    path = table("case,specimen,path", "C,S,slides/a.svs")
    (tmp_path / "aside").mkdir()
    monkeypatch.chdir(tmp_path)
    cohorts = [read_cohort(way) for way in (path, Path("table.csv"), Path("aside/../table.csv"))]
    assert len({cohort.digest for cohort in cohorts}) == 1
    assert {cohort.entries[0].path for cohort in cohorts} == {tmp_path / "slides" / "a.svs"}


def test_an_empty_number_of_scans_leaves_the_digest_of_a_table_without_the_column(table):
    without = read_cohort(table("case,specimen,path", "C,S,a.svs")).digest
    assert read_cohort(table("case,specimen,path,n_scans", "C,S,a.svs,")).digest == without


def test_the_digest_changes_with_any_cell(table):
    base = ["C", "S", "a.svs", "P", "training", "1", "0.5", "north", "2"]
    header = "case,specimen,path,patient,split,label,mpp,site,n_scans"
    changed = ["D", "T", "b.svs", "Q", "test", "0", "0.6", "south", "3"]
    rows = [base] + [[*base[:i], changed[i], *base[i + 1 :]] for i in range(len(base))]
    assert len({read_cohort(table(header, ",".join(row))).digest for row in rows}) == len(rows)


def test_the_error_survives_the_way_to_another_process(table):
    _, error = problems_of(table("case,specimen,path", "C,S,"))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, str(copy)) == (error.problems, str(error))


def test_a_missing_scan_file_is_no_problem_of_the_table(table):
    path = read_cohort(table("case,specimen,path", "C,S,nowhere.svs")).entries[0].path
    assert not path.exists()


def test_an_entry_is_frozen(table):
    entry = read_cohort(table("case,specimen,path", "C,S,a.svs")).entries[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.path = Path()
