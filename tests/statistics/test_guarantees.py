"""The guarantees themselves, on a thousand simulated certifications each: the code of benchmarks/certification.py."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_PATH = Path(__file__).parents[2] / "benchmarks" / "certification.py"
_SPEC = importlib.util.spec_from_file_location("benchmarks_certification", _PATH)
benchmark = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(benchmark)

CONTROLS = [name for name in benchmark.SCENARIOS if name.startswith("control")]
CLAIMS = [name for name in benchmark.SCENARIOS if name not in CONTROLS]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_certificate_is_false_no_more_often_than_it_says(name):
    figures = benchmark.simulate(name)
    assert figures["n_simulations"] == 1000
    assert figures["violations"] <= benchmark.allowance(figures)
    # a procedure that certifies nothing would pass the line above; a plateau above alpha must not be certified
    if "plateau" not in name:
        assert figures["certified"] > 0.25
    if name == "NPV >= .95, prevalence .15":
        assert figures["coverage"] >= 0.85 * figures["oracle"]


@pytest.mark.parametrize("name", CONTROLS)
def test_the_same_simulation_shows_what_a_naive_threshold_breaks(name):
    assert benchmark.simulate(name, 300)["violations"] > 0.3
