import dataclasses
import math

import pytest

from pellucid.monitoring.drift import (
    FEWEST_TO_ALARM,
    MAX_PATH_POINTS,
    RECENT,
    DriftState,
    FeatureGroup,
    describe_drift,
)


def test_quiet_while_nothing_changes_and_says_that_this_is_no_proof(make):
    drift = describe_drift([make.observe(i) for i in range(120)], make.reference(150), seed="a")

    assert drift.state is DriftState.QUIET
    assert "does not prove" in drift.sentence
    assert drift.caveats == ()
    assert drift.alarm_at is None
    assert drift.peak_log_evidence < drift.log_limit == math.log(20_000)


def test_a_shift_of_the_answers_raises_the_alarm_and_names_the_feature(make):
    stream = [make.observe(i, shift=1.5 if i >= 100 else 0.0) for i in range(220)]

    drift = describe_drift(stream, make.reference(150), seed="a")

    assert drift.state is DriftState.ALARM
    assert 100 < drift.alarm_index < 180
    assert drift.alarm_at == stream[drift.alarm_index - 1].at
    assert drift.alarm_at in drift.sentence
    strongest = max(drift.features, key=lambda one: one.peak_log_evidence)
    assert strongest.feature == "mean_logit"
    assert strongest.shift_sd > 0.4
    assert strongest.hint_p < 0.01


def test_a_shift_of_one_input_raises_the_alarm_too(make):
    stream = [make.observe(i, stain=2.5 if i >= 100 else 0.0) for i in range(220)]

    drift = describe_drift(stream, make.reference(150), seed="a")

    assert drift.state is DriftState.ALARM
    assert max(drift.features, key=lambda one: one.peak_log_evidence).feature == "hematoxylin_od"


def test_an_alarm_stays_although_the_evidence_falls_again(make):
    stream = [make.observe(i, shift=2.0 if 80 <= i < 101 else 0.0) for i in range(400)]

    drift = describe_drift(stream, make.reference(150), seed="a")

    assert drift.log_evidence < drift.log_limit
    assert drift.state is DriftState.ALARM
    assert drift.peak_log_evidence >= drift.log_limit


def test_below_the_fewest_specimens_it_is_too_few_to_tell(make):
    stream = [make.observe(i, shift=9.0) for i in range(FEWEST_TO_ALARM - 1)]

    drift = describe_drift(stream, make.reference(150), seed="a")

    assert drift.state is DriftState.TOO_FEW
    assert drift.sentence == "Too few scans to tell: 24 specimens, and an alarm takes at least 25."
    assert drift.features[0].shift_sd > 5
    assert describe_drift([*stream, make.observe(90)], make.reference(150), seed="a").state is not DriftState.TOO_FEW


def test_a_reference_of_fourteen_says_what_it_cannot_show(make):
    drift = describe_drift([make.observe(i) for i in range(30)], make.reference(14), seed="a")

    assert drift.n_reference == 14
    assert "only 14 specimens" in drift.caveats[0]
    assert "from the first scan" in drift.caveats[1]
    assert {one.n_reference for one in drift.features} == {14}


def test_the_size_of_the_reference_is_that_of_its_feature_values(make):
    reference = dataclasses.replace(make.reference(14), n_specimens=500)

    drift = describe_drift([make.observe(i) for i in range(30)], reference, seed="a")

    assert drift.n_reference == 14
    assert "only 14 specimens" in drift.caveats[0]


def test_without_a_reference_nothing_is_compared(make):
    drift = describe_drift([make.observe(1)], None, seed="a")

    assert drift.state is DriftState.NO_REFERENCE
    assert drift.n_specimens == 1
    assert drift.features == ()


def test_no_scan_yet_is_too_few_to_tell(make):
    drift = describe_drift([make.failure(1)], make.reference(14), seed="a")

    assert drift.state is DriftState.TOO_FEW
    assert drift.n_reference == 14


def test_features_without_a_counterpart_are_named(make):
    reference = make.reference(14)
    columns = {"tissue_mm2": reference.features["tissue_mm2"], "hematoxylin_od": (), "moisture": (1.0, 2.0)}

    drift = describe_drift(
        [make.observe(i) for i in range(9)], dataclasses.replace(reference, features=columns), seed="a"
    )

    assert [one.feature for one in drift.features] == ["tissue_mm2"]
    assert drift.only_in_reference == ("moisture",)
    assert set(drift.not_in_reference) == {"focus_share", "hematoxylin_od", "mean_logit", "sd_logit", "distance"}

    none = describe_drift([make.observe(1)], dataclasses.replace(reference, features={"moisture": (1.0,)}), seed="a")
    assert none.state is DriftState.NO_REFERENCE
    assert none.only_in_reference == ("moisture",)


def test_more_scans_of_a_specimen_and_repeated_readings_add_no_evidence(make):
    stream = [make.observe(i) for i in range(40)]
    with_more = sorted(
        [*stream, *(make.observe(i + 500, specimen=f"S{i}", shift=3.0) for i in range(40))], key=lambda one: one.at
    )

    plain, more = (describe_drift(one, make.reference(150), seed="a") for one in (stream, with_more))

    assert more.n_specimens == 40
    assert more.path == plain.path


def test_a_feature_missing_from_some_scans_is_followed_where_it_is_there(make):
    stream = [make.observe(i) for i in range(60)]
    gaps = [dataclasses.replace(one, features={"focus_share": 0.1}) if i % 2 else one for i, one in enumerate(stream)]

    drift = describe_drift(gaps, make.reference(150), seed="a")

    counted = {one.feature: one.n_evidence for one in drift.features}
    assert (counted["focus_share"], counted["tissue_mm2"], counted["mean_logit"]) == (60, 30, 60)


def test_a_constant_feature_is_no_drift_and_has_no_shift(make):
    reference = dataclasses.replace(make.reference(150), features={"pen_share": (0.0,) * 150})
    stream = [make.observe(i, features={"pen_share": 0.0}) for i in range(100)]

    drift = describe_drift(stream, reference, seed="a")

    assert drift.state is DriftState.QUIET
    assert drift.features[0].shift_sd is None
    assert drift.features[0].hint_p == 1.0


def test_the_same_seed_gives_the_same_evidence(make):
    stream = [make.observe(i) for i in range(30)]
    a, b, other = (describe_drift(stream, make.reference(14), seed=seed) for seed in ("a", "a", "b"))

    assert a == b
    assert a.path != other.path


def test_quantiles_are_of_the_latest_and_evidence_of_all(make):
    stream = [make.observe(i) for i in range(RECENT + 50)]

    drift = describe_drift(stream, make.reference(14), seed="a")

    assert drift.n_recent == RECENT
    assert {(one.current.n, one.n_evidence) for one in drift.features} == {(RECENT, RECENT + 50)}


def test_a_long_path_is_thinned_to_its_highest_points(make):
    stream = [make.observe(i) for i in range(MAX_PATH_POINTS * 2 + 7)]

    drift = describe_drift(stream, make.reference(14), seed="a")

    assert len(drift.path) == MAX_PATH_POINTS
    assert max(point.log_evidence for point in drift.path) == drift.peak_log_evidence
    indices = [point.index for point in drift.path]
    assert indices == sorted(indices)


def test_groups_weigh_the_same_and_come_in_order(make):
    drift = describe_drift([make.observe(i) for i in range(9)], make.reference(14), seed="a")

    assert [one.group for one in drift.features] == [
        FeatureGroup.OUTPUT,
        FeatureGroup.OUTPUT,
        FeatureGroup.EMBEDDING,
        FeatureGroup.INPUT,
        FeatureGroup.INPUT,
        FeatureGroup.INPUT,
    ]
    means = [
        sum(math.exp(one.log_evidence) for one in drift.features if one.group is group)
        / sum(one.group is group for one in drift.features)
        for group in FeatureGroup
    ]
    floored = [one for one in drift.features if one.log_evidence == 0.0]
    if not floored:
        assert drift.log_evidence == pytest.approx(math.log(sum(means) / 3))
