import dataclasses

import pytest

from pellucid.core.seeds import generator
from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.reasons import Finding, Reason
from pellucid.domain.reference import ReferenceProfile

MODEL = "a" * 64
VERSIONS = Versions(model=MODEL, policy="p" * 64, software="s" * 64, software_version="0.1.0")
FEATURES = ("focus_share", "hematoxylin_od", "tissue_mm2")


def observe(number, *, rng=None, day=None, shift=0.0, stain=0.0, **changes):
    """One answered scan of its own specimen; `shift` moves the logit, `stain` one input feature, in reference sds."""
    rng = rng or generator("observation", number)
    at = f"2026-11-{1 + number // 1000 if day is None else day:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00.000Z"
    focus, stain_od, area, logit, sd, distance = rng.normal(size=6)
    plain = Observation(
        scan=f"{number:064x}",
        specimen=f"S{number}",
        run="r1",
        at=at,
        purpose="research",
        scanner="GT450" if number % 3 else "AT2",
        strata={"site": "north", "specimen_type": "biopsy" if number % 2 else "resection"},
        mpp=0.25,
        mpp_source="file",
        n_tiles=100 + number,
        features=dict(zip(FEATURES, (focus, stain_od + stain, area), strict=True)),
        embedding=(0.1, -0.2),
        distance=float(4 + 0.5 * distance),
        mean_logit=float(logit + shift),
        sd_logit=float(0.3 + 0.02 * sd),
        probability=0.5,
        mutual_information=0.01,
        reasons=("no_certificate",),
        error=None,
        timings={"read": 10.0, "encode": 20.0},
        model=MODEL,
        policy="p" * 64,
        software="s" * 64,
    )
    return dataclasses.replace(plain, **changes)


def failure(number, code="PEL-SLIDE-001", day=None):
    return observe(
        number,
        day=day,
        error=code,
        scanner=None,
        mpp=None,
        mpp_source=None,
        n_tiles=0,
        features={},
        embedding=(),
        distance=None,
        mean_logit=None,
        sd_logit=None,
        probability=None,
        mutual_information=None,
        timings={"open": 0.1},
    )


def decide(specimen, *findings, verdict=Verdict.UNDETERMINED, **changes):
    plain = Decision(
        specimen=specimen,
        verdict=verdict,
        disposition=Disposition.FOR_REVIEW,
        findings=(Finding(reason=Reason.NO_CERTIFICATE, detail="No certificate exists."), *findings),
        posterior=None,
        scans=(),
        versions=VERSIONS,
    )
    return dataclasses.replace(plain, **changes)


def reference_of(n, seed="reference", **changes):
    """A reference of `n` specimens from where the observations come from."""
    seen = [observe(number, rng=generator(seed, n, number)) for number in range(n)]
    columns = {name: tuple(sorted(one.features[name] for one in seen)) for name in FEATURES}
    for name in ("mean_logit", "sd_logit", "distance"):
        columns[name] = tuple(sorted(getattr(one, name) for one in seen))
    plain = ReferenceProfile(
        mean=(0.0,),
        components=((1.0,),),
        residual_scale=1.0,
        distance_limit=6.0,
        sd_limit=1.0,
        features=columns,
        n_specimens=n,
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def make():
    """The makers above, for tests in this folder."""
    return type(
        "Make",
        (),
        {
            "observe": staticmethod(observe),
            "failure": staticmethod(failure),
            "decide": staticmethod(decide),
            "reference": staticmethod(reference_of),
            "model": MODEL,
        },
    )
