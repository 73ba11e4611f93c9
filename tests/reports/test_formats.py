from hypothesis import given
from hypothesis import strategies as st

from pellucid.reports import formats


def test_probability_never_claims_certainty():
    assert formats.probability(1.0) == "> 0.99"
    assert formats.probability(0.0) == "< 0.01"
    assert formats.probability(0.805) in {"0.80", "0.81"}


def test_a_probability_held_against_a_threshold_has_three_decimals_and_is_no_certainty():
    assert formats.fine(0.23149) == "0.231"
    assert formats.fine(0.0004) == "< 0.001"
    assert formats.fine(0.9996) == "> 0.999"


def test_interval_reads_as_words_where_an_end_has_no_number():
    assert formats.interval(0.62, 0.93) == "0.62–0.93"
    assert formats.interval(0.001, 0.93) == "< 0.01 to 0.93"


def test_numbers_have_no_needless_exponent_or_digits():
    assert formats.number(31.4) == "31.4"
    assert formats.number(0.0) == "0"
    assert formats.number(123456.0) == "123,456"
    assert formats.number(0.000123) == "0.000123"
    assert formats.number(1e-9) == "1.00e-09"
    assert formats.number(None) == formats.number(float("nan")) == "—"


def test_durations_and_moments_read_as_people_say_them():
    assert formats.seconds(0.0312) == "31 ms"
    assert formats.seconds(11.24) == "11.2 s"
    assert formats.seconds(600) == "10 min"
    assert formats.seconds(7260) == "2 h 01 min"
    assert formats.moment("2026-11-23T10:17:00.123Z") == "2026-11-23 10:17:00 UTC"
    assert formats.moment("yesterday") == "yesterday"
    assert formats.counted(1, "pass", "passes") == "1 pass"
    assert formats.counted(1500, "scan") == "1,500 scans"
    assert formats.percent(0.9) == "90%"
    assert formats.percent(0.975) == "97.5%"


@given(st.floats(min_value=1e-4, max_value=1e8))
def test_a_formatted_number_is_within_half_of_its_last_digit(value: float):
    shown = float(formats.number(value).replace(",", ""))
    assert abs(shown - value) <= 0.0051 * value + 1e-12
