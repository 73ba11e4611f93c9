"""The book of failures."""

import json
from dataclasses import replace

import pytest

from pellucid.core.errors import SystemRefused
from pellucid.training.ranks import Ranks
from pellucid.training.stream import FailureBook, FailureBookDamaged, SlideFailure, read_failures

FAILURE = SlideFailure(
    step=7, epoch=2, position=1, attempt=0, scan="ab" * 32, slide="Größe", code="PEL-SLIDE-001", message="Gone."
)
SECOND = replace(FAILURE, attempt=1, scan="cd" * 32)
LATER = replace(FAILURE, step=9, position=3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "failures.jsonl"


def test_a_book_says_who_failed_when_and_a_new_one_says_the_same(path):
    book = FailureBook(path, Ranks())
    assert not path.exists()
    book.record([FAILURE, SECOND])
    book.record([LATER])
    for one in (book, FailureBook(path, Ranks())):
        assert one.at(7) == {FAILURE.scan, SECOND.scan}
        assert one.at(8) == frozenset()
        assert one.between(7, 9) == {FAILURE.scan, SECOND.scan}
        assert one.between(8, 10) == {LATER.scan}
    assert read_failures(path) == (FAILURE, SECOND, LATER)
    assert json.loads(path.read_text().splitlines()[0])["slide"] == "Größe"


def test_what_a_killed_writer_left_half_written_is_dropped_and_written_over(path):
    book = FailureBook(path, Ranks())
    book.record([FAILURE, LATER])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        book = FailureBook(path, Ranks())
        assert book.at(7) == ({FAILURE.scan} if size >= first else set())
        assert book.at(9) == frozenset()
        book.record([SECOND])
        assert read_failures(path) == ((FAILURE, SECOND) if size >= first else (SECOND,))


@pytest.mark.parametrize("line", [b"no json", b"[]", b'{"step": 3}', b"\xff", b"", b'"x"'])
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(path, line):
    FailureBook(path, Ranks()).record([FAILURE])
    whole = path.read_bytes()
    path.write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(FailureBookDamaged, match=r"Line 2 of failures\.jsonl is no failure"):
        FailureBook(path, Ranks())


@pytest.mark.parametrize("values", [{"step": "7"}, {"scan": 7}])
def test_values_of_another_kind_are_no_failure(path, values):
    FailureBook(path, Ranks()).record([FAILURE])
    path.write_text(json.dumps(json.loads(path.read_text()) | values) + "\n")
    with pytest.raises(FailureBookDamaged, match="Line 1"):
        FailureBook(path, Ranks())


def test_a_book_that_cannot_be_written_is_a_coded_error(tmp_path):
    book = FailureBook(tmp_path / "failures.jsonl", Ranks())
    (tmp_path / "failures.jsonl").mkdir()
    with pytest.raises(SystemRefused, match="book of failed slides"):
        book.record([FAILURE])
    assert book.at(7) == frozenset()
