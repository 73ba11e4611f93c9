import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.records import open_records, pseudonyms


def test_pseudonym_is_stable_readable_and_says_nothing(ward):
    name = ward.records.pseudonym("specimen", "MUELLER-1975")
    assert re.fullmatch(r"S-[0-9A-HJKMNP-TV-Z]{8}", name)
    assert ward.records.pseudonym("specimen", "MUELLER-1975") == name


def test_kinds_have_prefixes_and_names_of_their_own(ward):
    names = [ward.records.pseudonym(kind, "X") for kind in ("specimen", "case", "scan")]
    assert [name[:2] for name in names] == ["S-", "C-", "F-"]
    assert len({name[2:] for name in names}) == 3


def test_sites_have_pseudonyms_of_their_own(ward, tmp_path):
    with open_records(tmp_path / "other.sqlite") as other:
        assert other.pseudonym("case", "C1") != ward.records.pseudonym("case", "C1")


def test_lookup_finds_the_identifier_and_is_recorded(ward):
    name = ward.records.pseudonym("case", "C1")
    assert ward.records.identify(name, actor="user:7") == ("case", "C1")
    event = ward.records.audit_events()[-1].content
    assert (event["action"], event["actor"], event["object"]["id"]) == ("identity.lookup", "user:7", name)
    assert ward.records.identify("S-00000000") is None


def test_taken_pseudonym_is_passed_over(ward):
    salt = ward.records.site_salt()
    first, second = (pseudonyms.derive(salt, "case", "C1", counter) for counter in (0, 1))
    ward.sql("INSERT INTO pseudonym VALUES (?, 'case', 'occupant', 0)", parameters=(first,))
    assert ward.records.pseudonym("case", "C1") == second
    assert ward.records.pseudonym("case", "C1") == second


def test_unknown_kind_is_refused_by_the_database_as_well(ward):
    with pytest.raises(ward.refused):
        ward.sql("INSERT INTO pseudonym VALUES ('X-1', 'patient', 'P', 0)")


@given(st.binary(min_size=32, max_size=32), st.text(), st.text())
def test_derivation_depends_on_salt_and_identifier_alone(salt, one, other):
    derived = pseudonyms.derive(salt, "case", one, 0)
    assert derived == pseudonyms.derive(salt, "case", one, 0)
    assert (derived == pseudonyms.derive(salt, "case", other, 0)) == (one == other)
