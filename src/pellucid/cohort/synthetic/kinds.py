"""What a synthetic cohort holds: its kinds of scans and its configuration."""

from dataclasses import dataclass, replace
from enum import StrEnum

from pellucid.cohort.errors import SynthesisInvalid

MARK = "Pellucid synthetic"
"""The words in every synthetic file by which it can be told from a real one."""


class ScanKind(StrEnum):
    """What is special about a synthetic scan."""

    CLEAR = "clear"
    AMBIGUOUS = "ambiguous"
    """The planted signal is absent: both architectures in equal parts."""
    BLURRED = "blurred"
    PENNED = "penned"
    NEARLY_EMPTY = "nearly_empty"
    IMMUNOSTAINED = "immunostained"
    TUMOUR_FREE = "tumour_free"
    MIS_SCALED = "mis_scaled"
    """The objective power contradicts the um/px."""
    SCALE_MISSING = "scale_missing"
    CORRUPT_TILE = "corrupt_tile"
    """One JPEG tile of level 0 can't be decoded."""
    CORRUPT_TILES = "corrupt_tiles"
    """Every third JPEG tile of level 0 can't be decoded."""
    TRUNCATED = "truncated"
    """The file ends early."""
    FOREIGN = "foreign"
    """A tumour of small cells, stained and scanned as well as any: of another kind than those a model is trained on."""


DEFAULT_SPECIAL: tuple[tuple[ScanKind, int], ...] = (
    (ScanKind.AMBIGUOUS, 4),
    (ScanKind.BLURRED, 2),
    (ScanKind.PENNED, 2),
    (ScanKind.NEARLY_EMPTY, 2),
    (ScanKind.IMMUNOSTAINED, 2),
    (ScanKind.TUMOUR_FREE, 2),
    (ScanKind.MIS_SCALED, 1),
    (ScanKind.SCALE_MISSING, 1),
    (ScanKind.CORRUPT_TILE, 1),
    (ScanKind.CORRUPT_TILES, 1),
    (ScanKind.TRUNCATED, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisConfig:
    """How many specimens of what kind a synthetic cohort has.

    `n_training`, `n_tuning`, `n_certification` and `n_test` count specimens whose scans are clear (of varying
    strength); `special` adds specimens of other kinds to the test split. `slide_px` is the side of a scan at
    0.5 um/px. `prevalence` is the share of mutated specimens. A specimen's strength, how far its morphology leans
    towards its label, is normal with `strength_mean` and `strength_sd`, cut to -1..1; with the defaults even a perfect
    reader reaches an AUROC of only about 0.93. The `p_` fields are shares: specimens with a second scan, scans at
    0.25 um/px, scans as generic TIFF instead of SVS, SVS files with a label and a macro image, patients with a
    second specimen.
    """

    seed: int = 0
    n_training: int = 60
    n_tuning: int = 24
    n_certification: int = 0
    n_test: int = 24
    special: tuple[tuple[ScanKind, int], ...] = DEFAULT_SPECIAL
    special_tuning: tuple[tuple[ScanKind, int], ...] = ()
    special_certification: tuple[tuple[ScanKind, int], ...] = ()
    slide_px: int = 3600
    prevalence: float = 0.45
    strength_mean: float = 0.5
    strength_sd: float = 0.48
    p_second_scan: float = 0.12
    p_fine: float = 0.06
    p_generic_tiff: float = 0.2
    p_label_page: float = 0.25
    p_second_specimen: float = 0.08

    def __post_init__(self) -> None:
        special = (*self.special, *self.special_tuning, *self.special_certification)
        counts = [self.n_training, self.n_tuning, self.n_certification, self.n_test, *(n for _, n in special)]
        if min(counts) < 0 or sum(counts) == 0:
            raise SynthesisInvalid(f"A cohort of {counts} specimens can't be made: counts are 0 or more, not all 0.")
        if not 1024 <= self.slide_px <= 16384:
            raise SynthesisInvalid(f"slide_px is {self.slide_px}; it must lie between 1024 and 16384.")
        if self.strength_sd < 0.0:
            raise SynthesisInvalid(f"strength_sd is {self.strength_sd}; it can't be negative.")
        for name in ("prevalence", "p_second_scan", "p_fine", "p_generic_tiff", "p_label_page", "p_second_specimen"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise SynthesisInvalid(f"{name} is {share}; a share lies between 0 and 1.")

    @property
    def n_specimens(self) -> int:
        """Specimens in all, of every kind and split."""
        special = (*self.special, *self.special_tuning, *self.special_certification)
        clear = self.n_training + self.n_tuning + self.n_certification + self.n_test
        return clear + sum(n for _, n in special)

    def scaled(self, factor: float) -> "SynthesisConfig":
        """The same cohort with `factor` times the specimens; no kind that it has disappears."""

        def count(n: int) -> int:
            return max(round(n * factor), 1) if n else 0

        return replace(
            self,
            n_training=count(self.n_training),
            n_tuning=count(self.n_tuning),
            n_certification=count(self.n_certification),
            n_test=count(self.n_test),
            special=tuple((kind, count(n)) for kind, n in self.special),
            special_tuning=tuple((kind, count(n)) for kind, n in self.special_tuning),
            special_certification=tuple((kind, count(n)) for kind, n in self.special_certification),
        )
