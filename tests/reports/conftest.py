"""A run as it could be: three specimens, one with two scans, one penned and blurred, one that failed."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.core.digests import digest_bytes
from pellucid.core.seeds import generator
from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Shortfall, Side
from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Finding, Reason
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.scan import Scale, ScaleSource, ScanInfo
from pellucid.monitoring import MonitoringReport, monitor
from pellucid.reports import (
    DecisionVersion,
    FailureLine,
    FailureView,
    ResultFile,
    RunFacts,
    RunView,
    ScanImages,
    ScanView,
    SpecimenLine,
    SpecimenView,
    TilePicture,
    render_attention_sd,
    render_heatmap,
    render_icon,
    write_png,
)

VERSIONS = Versions(model="3f" * 32, policy="a1" * 32, software="07" * 32, software_version="0.1.0")
RUN = RunFacts(
    run="R-20261123-1017",
    started="2026-11-23T10:17:00.123Z",
    finished="2026-11-23T10:19:41.800Z",
    software_version="0.1.0",
    bundle="demo-egfr",
    bundle_digest="b4" * 32,
    encoder="pellucid-small",
    encoder_digest="e7" * 32,
    synthetic=True,
    n_passes=50,
)

BARE = SitePolicy(name="local")
CERTIFICATE = Certificate(
    stratum=(("site", "north"),),
    seen={"scanner": ("Aperio ScanScope",), "specimen_type": ("biopsy", "resection")},
    claims=(
        Claim(
            side=Side.NEGATIVE,
            kind=ClaimKind.PREDICTIVE_VALUE,
            target=0.9,
            delta=0.05,
            bound=0.9147,
            n=131,
            errors=5,
        ),
        Claim(
            side=Side.NEGATIVE,
            kind=ClaimKind.MISSED_POSITIVES,
            target=0.15,
            delta=0.025,
            bound=0.1312,
            n=84,
            errors=5,
        ),
        Claim(
            side=Side.POSITIVE,
            kind=ClaimKind.PREDICTIVE_VALUE,
            target=0.9,
            delta=0.025,
            bound=0.9021,
            n=60,
            errors=1,
        ),
    ),
    negative=-1.2,
    positive=1.6,
    n_specimens=312,
    n_passed=268,
    n_positive=84,
    prevalence_low=0.221,
    prevalence_high=0.323,
    delta=0.1,
)
CERTIFIED = SitePolicy(
    name="north 2026",
    mode=Mode.SILENT,
    certificates=(
        CERTIFICATE,
        Certificate(
            stratum=(("site", "south"),),
            seen={"scanner": ("Aperio ScanScope",)},
            claims=(
                Claim(
                    side=Side.NEGATIVE,
                    kind=ClaimKind.PREDICTIVE_VALUE,
                    target=0.9,
                    delta=0.05,
                    bound=None,
                    n=11,
                    errors=0,
                ),
            ),
            shortfalls=(
                Shortfall(side=Side.NEGATIVE, n_more=57, sentence="About 57 more specimens of this kind would do."),
            ),
            negative=None,
            positive=None,
            n_specimens=24,
            n_passed=19,
            n_positive=6,
            prevalence_low=0.1,
            prevalence_high=0.46,
            delta=0.05,
        ),
    ),
    model=VERSIONS.model,
    gates="9c" * 32,
    synthetic=True,
    autonomous_positive=True,
    certified_on="2026-11-23",
    expires_on="2027-05-22",
    cohort="d0" * 32,
    activated_by="A. Reader",
    reason="silent phase",
)


def posterior(seed: str, mean: float, sd: float, n_scans: int = 1) -> Posterior:
    """A posterior of 50 passes around a calibrated logit."""
    temperature = 1.3
    logits = generator("demo", seed).normal(mean, sd, 50) * temperature
    calibrated = logits / temperature
    passes = 1 / (1 + np.exp(-calibrated))
    low, high = np.quantile(passes, [0.05, 0.95])
    p = float(passes.mean())
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    within = float(np.mean(-passes * np.log(passes) - (1 - passes) * np.log(1 - passes)))
    return Posterior(
        logits=tuple(logits.tolist()),
        temperature=temperature,
        probability=float(1 / (1 + np.exp(-calibrated.mean()))),
        mean_probability=p,
        mean_logit=float(calibrated.mean()),
        sd_logit=float(calibrated.std(ddof=1)),
        low=float(low),
        high=float(high),
        level=0.9,
        entropy=float(entropy),
        mutual_information=float((entropy - within) * 50 / 49),
        n_scans=n_scans,
    )


def quality(*, focus: float = 0.94, pen: float = 0.0, tissue: float = 31.4) -> Quality:
    """Five measures as the slides room gives them."""

    def measure(
        name: str, label: str, value: float | None, unit: str, limit: float, sense: Sense, reason: Reason
    ) -> QualityMeasure:
        return QualityMeasure(name=name, label=label, value=value, unit=unit, limit=limit, sense=sense, reason=reason)

    return Quality(
        measures=(
            measure("tissue", "Tissue area", tissue, "mm²", 1.0, Sense.AT_LEAST, Reason.TOO_LITTLE_TISSUE),
            measure("focus", "Tissue in focus", focus, "of tissue", 0.8, Sense.AT_LEAST, Reason.POOR_FOCUS),
            measure("pen", "Tissue under pen", pen, "of tissue", 0.05, Sense.AT_MOST, Reason.ARTEFACT),
            measure("stain", "Haematoxylin and eosin", 0.87, "", 0.5, Sense.AT_LEAST, Reason.OUT_OF_SCOPE),
            measure("unreadable", "Unreadable tiles", 0.0, "of tiles", 0.01, Sense.AT_MOST, Reason.UNREADABLE_TILES),
        )
    )


def tissue_picture(seed: str, height: int = 600, width: int = 820) -> np.ndarray:
    """Pink blobs with violet dots on white, enough to judge a page by."""
    rng = generator("picture", seed)
    y, x = np.mgrid[:height, :width]
    inside = np.zeros((height, width), bool)
    for _ in range(5):
        cy, cx = rng.uniform(0.3, 0.7) * height, rng.uniform(0.25, 0.75) * width
        ry, rx = rng.uniform(0.12, 0.3, 2) * height
        inside |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    picture = np.full((height, width, 3), 244, np.uint8)
    pink = np.clip(np.array([222, 160, 195]) + rng.normal(0, 14, (height, width, 1)), 0, 255)
    picture[inside] = pink[inside].astype(np.uint8)
    for cy, cx in zip(rng.integers(2, height - 3, 6000), rng.integers(2, width - 3, 6000), strict=True):
        if inside[cy, cx]:
            picture[cy - 1 : cy + 2, cx - 1 : cx + 2] = (96, 64, 140)
    return picture


@dataclass(frozen=True)
class Demo:
    """A run's folder with its pictures, and the views of its pages."""

    folder: Path
    run: RunView
    specimens: tuple[SpecimenView, ...]


def scan_view(folder: Path, name: str, thumbnail: np.ndarray, level0: tuple[int, int], answer: Posterior) -> ScanView:
    """A scan with all its pictures written below `folder`."""
    width, height = level0
    tile = 448
    tissue = (thumbnail.min(axis=2) < 215) & (np.ptp(thumbnail.astype(int), axis=2) > 12)
    coords = np.array(
        [
            (x, y)
            for y in range(0, height, tile)
            for x in range(0, width, tile)
            if _share(tissue, x, y, tile, width, height) > 0.4
        ],
        np.int32,
    )
    rng = generator("attention", name)
    centre = coords[rng.integers(len(coords))]
    near = np.exp(-((np.linalg.norm(coords - centre, axis=1) / (0.2 * width)) ** 2))
    weights = (0.08 + near) * rng.gamma(4.0, 0.25, len(coords))
    attention = (weights / weights.sum()).astype(np.float32)
    args = (thumbnail, coords, tile, width, height)
    mean = render_heatmap(*args, attention)
    sd = render_attention_sd(*args, (attention * rng.uniform(0.1, 0.6, len(coords))).astype(np.float32))
    outline = thumbnail.copy()
    outline[~tissue] = (outline[~tissue] * 0.55).astype(np.uint8)
    base = f"pictures/{name}"
    write_png(folder / f"{base}-thumbnail.png", thumbnail)
    write_png(folder / f"{base}-icon.png", render_icon(thumbnail))
    write_png(folder / f"{base}-heatmap.png", mean.overlay)
    write_png(folder / f"{base}-heatmap-sd.png", sd.overlay)
    write_png(folder / f"{base}-tissue.png", outline)
    tiles = []
    for rank, index in enumerate(np.argsort(-attention)[:6], start=1):
        x, y = (coords[index] * thumbnail.shape[1] / width).astype(int)
        side = max(int(tile * thumbnail.shape[1] / width), 8)
        crop = thumbnail[y : y + side, x : x + side]
        path = f"{base}-tile-{rank}.png"
        write_png(folder / path, np.ascontiguousarray(crop.repeat(4, 0).repeat(4, 1)))
        tiles.append(TilePicture(path=path, rank=rank, attention=float(attention[index] * len(coords))))
    return ScanView(
        pseudonym=name,
        digest=digest_bytes(name.encode()),
        info=ScanInfo(
            width=width,
            height=height,
            level_downsamples=(1.0, 4.0, 16.0),
            vendor="aperio",
            reader="openslide 4.0.1",
            scale=Scale(mpp_x=0.499, mpp_y=0.499, source=ScaleSource.FILE, detail="openslide.mpp-x"),
            claimed_mpp=0.499,
            objective_power=20.0,
            scanner="Aperio ScanScope",
            synthetic=False,
        ),
        quality=quality(),
        n_tiles=len(coords),
        posterior=answer,
        distance=4.1,
        distance_limit=6.3,
        images=ScanImages(
            thumbnail=f"{base}-thumbnail.png",
            icon=f"{base}-icon.png",
            tissue=f"{base}-tissue.png",
            heatmap=f"{base}-heatmap.png",
            heatmap_sd=f"{base}-heatmap-sd.png",
            top_tiles=tuple(tiles),
        ),
        legend=mean.legend,
        legend_sd=sd.legend,
        timings={"identify": 0.031, "tissue": 0.42, "quality": 0.77, "read": 3.9, "encode": 11.2, "posterior": 0.6},
    )


def _share(tissue: np.ndarray, x: int, y: int, tile: int, width: int, height: int) -> float:
    rows, columns = tissue.shape
    part = tissue[
        y * rows // height : max((y + tile) * rows // height, y * rows // height + 1),
        x * columns // width : max((x + tile) * columns // width, x * columns // width + 1),
    ]
    return float(part.mean()) if part.size else 0.0


def finding(reason: Reason, detail: str = "", **values: object) -> Finding:
    return Finding(reason=reason, detail=detail, **values)  # type: ignore[arg-type]


def decide(specimen: str, findings: tuple[Finding, ...], answer: Posterior | None, scans: tuple[str, ...]) -> Decision:
    return Decision(
        specimen=specimen,
        verdict=Verdict.UNDETERMINED,
        disposition=Disposition.FOR_REVIEW,
        findings=findings,
        posterior=answer,
        scans=scans,
        versions=VERSIONS,
    )


NO_CERTIFICATE = finding(Reason.NO_CERTIFICATE, "No certificate has been issued at this site.")
FAILURE = FailureView(
    code="PEL-SLIDE-004",
    sentence="The scan states no size of its pixels, so nothing in it can be measured.",
    remedy="Give the um/px in the column mpp of the cases table, or with --mpp for a bare file.",
)


def build_demo(folder: Path, thumbnail: np.ndarray | None = None, level0: tuple[int, int] = (13120, 9600)) -> Demo:
    """Write the pictures of a run below `folder` and make its views."""
    first_picture = tissue_picture("first") if thumbnail is None else thumbnail
    clear = posterior("clear", 1.45, 0.55)
    first = scan_view(folder, "S-0412-1", first_picture, level0, clear)
    single = SpecimenView(
        pseudonym="S-0412",
        decision=decide("S-0412", (NO_CERTIFICATE,), clear, (first.digest,)),
        scans=(first,),
        run=RUN,
        policy=BARE,
        strata=(("site", "north"), ("specimen_type", "resection")),
        expected_scans=1,
        decided_at="2026-11-23T10:18:02.001Z",
        audit_sequence=1184,
        history=(
            DecisionVersion(
                version=1,
                at="2026-11-23T10:18:02.001Z",
                verdict=Verdict.UNDETERMINED,
                disposition=Disposition.FOR_REVIEW,
                reasons=(Reason.NO_CERTIFICATE,),
                run=RUN.run,
                audit_sequence=1184,
            ),
        ),
    )
    both = posterior("both", 0.1, 1.4, n_scans=2)
    bad = quality(focus=0.55, pen=0.11)
    a = replace(
        scan_view(folder, "S-0413-1", tissue_picture("a"), (13120, 9600), posterior("a", 1.9, 0.9)),
        digest="aa" * 32,
        quality=bad,
        distance=8.2,
    )
    b = replace(
        scan_view(folder, "S-0413-2", tissue_picture("b", 820, 500), (8000, 13120), posterior("b", -1.7, 0.8)),
        digest="bb" * 32,
    )
    findings = (
        finding(Reason.UNCERTAIN, "sd of the logit 1.42 (limit: at most 1.1)", value=1.42, limit=1.1),
        finding(Reason.OUT_OF_DISTRIBUTION, "distance 8.2 (limit: at most 6.3)", value=8.2, limit=6.3, scan=a.digest),
        *bad.findings(a.digest),
        finding(Reason.SLIDES_DISAGREE, "probabilities 0.87 and 0.15", value=0.72, limit=0.5),
        finding(Reason.STRATUM_UNKNOWN, "specimen_type is not stated"),
        NO_CERTIFICATE,
    )
    double = SpecimenView(
        pseudonym="S-0413",
        decision=decide("S-0413", findings, both, (a.digest, b.digest)),
        scans=(a, b),
        run=RUN,
        policy=BARE,
        strata=(("site", "north"),),
        expected_scans=2,
    )
    failed_scan = ScanView(pseudonym="S-0414-1", digest="cc" * 32, info=None, failure=FAILURE)
    failed = SpecimenView(
        pseudonym="S-0414",
        decision=decide(
            "S-0414",
            (finding(Reason.PROCESSING_FAILED, FAILURE.sentence, scan="cc" * 32, code=FAILURE.code), NO_CERTIFICATE),
            None,
            ("cc" * 32,),
        ),
        scans=(failed_scan,),
        run=RUN,
        policy=BARE,
    )
    specimens = (single, double, failed)
    filler = tuple(
        SpecimenLine(
            pseudonym=f"S-{500 + i:04d}",
            verdict=Verdict.UNDETERMINED,
            disposition=Disposition.FOR_REVIEW,
            reasons=(Reason.NEAR_THRESHOLD, Reason.NO_CERTIFICATE) if i % 3 == 0 else (Reason.NO_CERTIFICATE,),
            probability=(answer := posterior(f"f{i}", -3.0 + 0.45 * i, 0.5)).probability,
            low=answer.low,
            high=answer.high,
            n_scans=1,
            icon=single.scans[0].images.icon if i % 2 else None,
        )
        for i in range(12)
    )
    run = RunView(
        run=RUN,
        policy=BARE,
        policy_digest=VERSIONS.policy,
        made_on="2026-11-23",
        lines=(*(SpecimenLine.of(view) for view in specimens), *filler),
        failures=(FailureLine(scan="S-0414-1", specimen="S-0414", failure=FAILURE),),
        rates=(("Scans an hour", "312"), ("Tiles a second", "241"), ("Peak memory", "1.9 GB")),
        files=(
            ResultFile(path="results.parquet", description="one row a specimen, every digit"),
            ResultFile(path="results.csv", description="the same for a spreadsheet"),
        ),
        monitoring_page="monitoring.html",
        model_card="demo-egfr\n\nTrained on generated pictures. Knows nothing about patients.",
    )
    return Demo(folder=folder, run=run, specimens=specimens)


def certified_view(view: SpecimenView, seed: str, mean: float, verdict: Verdict, *findings: Finding) -> SpecimenView:
    """`view` as it is under a policy with certificates, in silent mode."""
    answer = posterior(seed, mean, 0.3)
    scan = replace(
        view.scans[0],
        posterior=answer,
        tumour_share=0.62,
        tumour_limit=0.05,
        deterministic_logit=mean - 0.04,
        ensemble_logits=(mean - 0.04, mean + 0.31, mean - 0.22),
    )
    decision = replace(decide(seed, findings, answer, (scan.digest,)), verdict=verdict, disposition=Disposition.SILENT)
    return replace(
        view, pseudonym=seed, decision=decision, scans=(scan,), policy=CERTIFIED, certificate=CERTIFICATE, history=()
    )


def build_certified(demo: Demo) -> Demo:
    """A run in silent mode: a negative, a positive and an undetermined specimen, and the failed one."""
    view = demo.specimens[0]
    specimens = (
        certified_view(view, "S-0601", -2.6, Verdict.NEGATIVE),
        certified_view(view, "S-0602", 2.7, Verdict.POSITIVE),
        certified_view(
            view,
            "S-0603",
            -1.3,
            Verdict.UNDETERMINED,
            finding(
                Reason.UNCERTAIN,
                "The passes straddle the certified negative threshold of 0.231: 0.143 to 0.307 around 0.214",
                value=0.307,
                limit=0.231,
            ),
        ),
        replace(demo.specimens[2], policy=CERTIFIED),
    )
    run = replace(demo.run, lines=tuple(SpecimenLine.of(one) for one in specimens), policy=CERTIFIED)
    return Demo(folder=demo.folder, run=run, specimens=specimens)


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return build_certified(build_demo(tmp_path_factory.mktemp("certified")))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return build_demo(tmp_path_factory.mktemp("run"))


def observation(index: int, *, shifted: bool = False) -> Observation:
    """The `index`-th scan of a stream; a shifted one is stained otherwise."""
    rng = generator("observation", index)
    logit = float(rng.normal(0.2, 1.5))
    failed = index % 11 == 10
    return Observation(
        scan=f"{index:064x}",
        specimen=f"S-{index}",
        run=RUN.run,
        at=f"2026-11-{1 + index // 12:02d}T10:{index % 60:02d}:00.000Z",
        purpose="decide",
        scanner="Aperio ScanScope" if index % 3 else None,
        strata={"site": "north" if index % 2 else "south"},
        mpp=0.499,
        mpp_source="file",
        n_tiles=0 if failed else 200 + index,
        features={}
        if failed
        else {"stain_hue": float(rng.normal(3.0 if shifted else 0.0)), "focus": float(rng.random())},
        embedding=() if failed else (logit, 0.1),
        distance=None if failed else float(rng.gamma(9, 0.5)),
        mean_logit=None if failed else logit,
        sd_logit=None if failed else float(rng.gamma(4, 0.2)),
        probability=None if failed else float(1 / (1 + np.exp(-logit))),
        mutual_information=None if failed else 0.02,
        reasons=("no_certificate",),
        error="PEL-SLIDE-004" if failed else None,
        timings={"read": float(rng.gamma(9, 0.4)), "encode": float(rng.gamma(9, 1.0))},
        model=VERSIONS.model,
        policy=VERSIONS.policy,
        software=VERSIONS.software,
    )


def build_report(n: int = 90) -> MonitoringReport:
    """A monitoring report of a stream whose stain shifts half way."""
    rng = generator("reference")
    reference = ReferenceProfile(
        mean=(0.0, 0.0),
        components=((1.0, 0.0), (0.0, 1.0)),
        residual_scale=1.0,
        distance_limit=8.0,
        sd_limit=1.1,
        features={
            "stain_hue": tuple(np.sort(rng.normal(size=150)).tolist()),
            "focus": tuple(np.sort(rng.random(150)).tolist()),
            "mean_logit": tuple(np.sort(rng.normal(0.2, 1.5, 150)).tolist()),
        },
        n_specimens=150,
    )
    stream = [observation(i, shifted=i > n // 2) for i in range(n)]
    decisions = [
        decide(
            one.specimen,
            (finding(Reason.POOR_FOCUS, "Tissue in focus: 0.5", value=0.5, limit=0.8), NO_CERTIFICATE)
            if i % 5 == 0
            else (NO_CERTIFICATE,),
            None,
            (one.scan,),
        )
        for i, one in enumerate(stream)
    ]
    for i in range(n - 24, n):
        if i % 5 and i % 2:
            decisions[i] = replace(decisions[i], verdict=Verdict.NEGATIVE, disposition=Disposition.SILENT, findings=())
    return monitor(
        stream,
        decisions,
        policies={VERSIONS.policy: CERTIFIED},
        reference=reference,
        model=VERSIONS.model,
        bundle="demo-egfr",
        synthetic=True,
        made_at="2026-11-23T10:19:41.800Z",
    )


@pytest.fixture(scope="session")
def report() -> MonitoringReport:
    return build_report()
