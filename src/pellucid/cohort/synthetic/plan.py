"""Which specimens and scans a synthetic cohort has, before any pixel is drawn."""

import hashlib
from dataclasses import dataclass

import numpy as np

from pellucid.cohort.synthetic.kinds import ScanKind, SynthesisConfig
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Split

SCANNERS = ("SYN-A", "SYN-B", "SYN-C")
_SITES = ("SYN-NORTH", "SYN-SOUTH", "SYN-EAST")
_SPECIMEN_TYPES = ("resection", "resection", "resection", "biopsy")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """One scan to draw.

    `layout` seeds the tissue: two scans with the same layout are one glass slide, scanned twice. `strength` is how far
    the morphology leans towards the label (-1..1); `lean` the same towards "mutated". `side_px` is at `mpp`.
    """

    name: str
    case: str
    specimen: str
    block: str
    slide: str
    patient: str
    split: Split
    label: int
    site: str
    specimen_type: str
    kind: ScanKind
    strength: float
    layout: int
    scanner: str
    mpp: float
    side_px: int
    generic_tiff: bool
    label_page: bool

    @property
    def lean(self) -> float:
        """How far the morphology leans towards "mutated", -1..1."""
        return self.strength if self.label == 1 else -self.strength

    @property
    def file_name(self) -> str:
        """The scan's file name: opaque, as a pseudonymised archive would have it."""
        return f"{self.name}.{'tif' if self.generic_tiff else 'svs'}"


@dataclass(frozen=True, slots=True)
class _Specimen:
    number: int
    split: Split
    kind: ScanKind
    patient: int
    label: int
    strength: float


def plan_cohort(config: SynthesisConfig) -> tuple[ScanPlan, ...]:
    """Every scan of the cohort, in the table's order; a pure function of `config`."""
    return tuple(scan for specimen in _specimens(config) for scan in _scans(config, specimen))


def _specimens(config: SynthesisConfig) -> list[_Specimen]:
    slots = [(split, ScanKind.CLEAR) for split, n in _clear_counts(config).items() for _ in range(n)]
    for split, special in _special_counts(config).items():
        slots += [(split, kind) for kind, n in special for _ in range(n)]
    balanced: dict[tuple[Split, ScanKind], list[int]] = {}
    specimens: list[_Specimen] = []
    patient = 0
    for number, (split, kind) in enumerate(slots, start=1):
        draw = generator("synthetic specimen", config.seed, number)
        labels = balanced.setdefault((split, kind), [])
        second = (
            bool(specimens)
            and draw.random() < config.p_second_specimen
            and (specimens[-1].split, specimens[-1].kind) == (split, kind)
            and kind is ScanKind.CLEAR
        )
        if second:
            label = specimens[-1].label
        else:
            patient += 1
            label = _next_label(labels, config.prevalence, draw)
        labels.append(label)
        specimens.append(_Specimen(number, split, kind, patient, label, _strength(config, kind, draw)))
    return specimens


def _clear_counts(config: SynthesisConfig) -> dict[Split, int]:
    return {
        Split.TRAINING: config.n_training,
        Split.TUNING: config.n_tuning,
        Split.CERTIFICATION: config.n_certification,
        Split.TEST: config.n_test,
    }


def _special_counts(config: SynthesisConfig) -> dict[Split, tuple[tuple[ScanKind, int], ...]]:
    """The test split first: a specimen's number decides how it looks, and must not change as others are added."""
    return {
        Split.TEST: config.special,
        Split.TUNING: config.special_tuning,
        Split.CERTIFICATION: config.special_certification,
    }


def _next_label(labels: list[int], prevalence: float, draw: np.random.Generator) -> int:
    """The label that keeps the group's share of mutated near the prevalence, by chance when both would."""
    expected = prevalence * (len(labels) + 1)
    shortfall = expected - sum(labels)
    return int(draw.random() < np.clip(shortfall, 0.0, 1.0))


def _strength(config: SynthesisConfig, kind: ScanKind, draw: np.random.Generator) -> float:
    if kind is ScanKind.AMBIGUOUS:
        return float(np.clip(draw.normal(0.0, 0.04), -0.1, 0.1))
    return float(np.clip(draw.normal(config.strength_mean, config.strength_sd), -1.0, 1.0))


def _scans(config: SynthesisConfig, specimen: _Specimen) -> list[ScanPlan]:
    draw = generator("synthetic scans", config.seed, specimen.number)
    site = _SITES[int(draw.integers(len(_SITES)))]
    specimen_type = _SPECIMEN_TYPES[int(draw.integers(len(_SPECIMEN_TYPES)))]
    first_scanner = int(draw.integers(len(SCANNERS)))
    several = specimen.kind in (ScanKind.CLEAR, ScanKind.AMBIGUOUS) and draw.random() < config.p_second_scan
    rescan = several and draw.random() < 0.5
    svs_only = specimen.kind in _SVS_ONLY
    fine = specimen.kind is ScanKind.CLEAR and draw.random() < config.p_fine
    sides = [_side(config.slide_px, draw, fine=fine) for _ in range(2)]
    scans = []
    for nth in range(2 if several else 1):
        glass = 1 if rescan else nth + 1
        generic = not svs_only and draw.random() < config.p_generic_tiff
        case = f"C{specimen.number:04d}"
        scans.append(
            ScanPlan(
                name=_opaque_name(config.seed, specimen.number, nth),
                case=case,
                specimen=f"{case}-A",
                block=f"A{glass}",
                slide=f"{case}-A-A{glass}-1",
                patient=f"P{specimen.patient:04d}",
                split=specimen.split,
                label=specimen.label,
                site=site,
                specimen_type=specimen_type,
                kind=specimen.kind,
                strength=specimen.strength,
                layout=specimen.number * 10 + glass,
                scanner=SCANNERS[(first_scanner + nth) % len(SCANNERS)],
                mpp=0.25 if fine else 0.5,
                side_px=sides[glass - 1],
                generic_tiff=generic,
                label_page=not generic and draw.random() < config.p_label_page,
            )
        )
    return scans


_SVS_ONLY = (ScanKind.MIS_SCALED, ScanKind.SCALE_MISSING)


def _side(slide_px: int, draw: np.random.Generator, *, fine: bool) -> int:
    # A scan at 0.25 um/px covers 0.7 of the side, or it would cost four times the work.
    side = slide_px * draw.uniform(0.85, 1.15) * (1.4 if fine else 1.0)
    return int(side) // 64 * 64


def _opaque_name(seed: int, specimen: int, nth: int) -> str:
    return "syn-" + hashlib.sha256(f"{seed}/{specimen}/{nth}".encode()).hexdigest()[:10]
