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
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(SynthesisInvalid):
        SynthesisConfig(**wrong)


def test_scaling_keeps_every_kind():
    small = SynthesisConfig().scaled(0.1)
    assert small.n_training == 6
    assert small.n_certification == 0
    assert {kind for kind, count in small.special if count} == set(ScanKind) - {ScanKind.CLEAR}
