"""A policy's digest covers all of it; domain types go through plain JSON unharmed and need nothing heavy."""

import subprocess
import sys
from dataclasses import replace

import pytest

from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.reference import ReferenceProfile

_POLICY = SitePolicy(name="p")


@pytest.mark.parametrize("change", [{"name": "q"}, {"mode": Mode.SILENT}, {"required_strata": ("site",)}])
def test_a_change_of_any_field_is_another_policy(change: dict) -> None:
    assert replace(_POLICY, **change).digest != _POLICY.digest


@pytest.mark.parametrize(
    "value",
    [
        _POLICY,
        Posterior(
            logits=(0.1, -1e-17, 3.0),
            temperature=1.5,
            probability=0.5,
            mean_probability=0.5,
            mean_logit=0.0,
            sd_logit=1.0,
            low=0.1,
            high=0.9,
            level=0.9,
            entropy=0.6,
            mutual_information=0.01,
            n_scans=2,
        ),
        ReferenceProfile(
            mean=(0.1, 0.2),
            components=((1.0, 0.0),),
            residual_scale=1.0,
            distance_limit=3.0,
            sd_limit=1.0,
            features={"stain": (0.1, 0.2)},
            n_specimens=2,
        ),
    ],
)
def test_a_value_comes_back_from_plain_json_to_the_bit(value: object) -> None:
    assert from_plain(type(value), to_plain(value)) == value


def test_the_domain_needs_no_torch_no_database_and_no_reader() -> None:
    script = (
        "import sys, pkgutil, importlib, pellucid.domain as d\n"
        "[importlib.import_module('pellucid.domain.' + m.name) for m in pkgutil.iter_modules(d.__path__)]\n"
        "print([n for n in ('torch', 'sqlalchemy', 'openslide', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
