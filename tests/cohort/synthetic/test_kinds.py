import pytest

from pellucid.cohort import ScanKind, SynthesisConfig, SynthesisInvalid


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_training": -1},
        {"n_training": 0, "n_tuning": 0, "n_test": 0, "special": ()},
        {"slide_px": 100},
        {"prevalence": 1.5},
        {"p_fine": -0.1},
        {"strength_sd": -1.0},
        {"special_tuning": ((ScanKind.AMBIGUOUS, -1),)},
        {"special_certification": ((ScanKind.PENNED, -1),)},
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(SynthesisInvalid):
        SynthesisConfig(**wrong)


def test_scaling_keeps_every_kind():
    config = SynthesisConfig(special_tuning=((ScanKind.AMBIGUOUS, 3),), special_certification=((ScanKind.FOREIGN, 30),))
    small = config.scaled(0.1)
    assert small.n_training == 6
    assert small.n_certification == 0
    assert [kind for kind, count in small.special if count] == [kind for kind, _ in config.special]
    assert small.special_tuning == ((ScanKind.AMBIGUOUS, 1),)
    assert small.special_certification == ((ScanKind.FOREIGN, 3),)


def test_special_specimens_are_counted_in_every_split():
    config = SynthesisConfig(
        n_training=5,
        n_tuning=4,
        n_certification=3,
        n_test=2,
        special=((ScanKind.PENNED, 1),),
        special_tuning=((ScanKind.AMBIGUOUS, 6),),
        special_certification=((ScanKind.PENNED, 3), (ScanKind.FOREIGN, 4)),
    )
    assert config.n_specimens == 28


def test_a_cohort_may_hold_special_specimens_alone():
    assert SynthesisConfig(
        n_training=0, n_tuning=0, n_test=0, special=(), special_certification=((ScanKind.FOREIGN, 1),)
    )
