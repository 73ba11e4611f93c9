"""The figures a plan stands on, each with where it is from: measured, computed, assumed or given."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from pellucid.domain.observation import Observation


class Source(StrEnum):
    """Where a figure is from."""

    MEASURED = "measured"
    COMPUTED = "computed, not measured"
    ASSUMED = "assumed"
    GIVEN = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, its unit, where it is from, and a sentence on that."""

    value: float
    unit: str
    source: Source
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a slide costs.

    `tiles_per_s` is an accelerator's; `read_core_s` are core seconds to read a tile; `mb_per_tile` and `mb_per_slide`
    are 10^6 bytes read from storage for tiles and to hash the file; `hash_mb_per_s` is one core's; `before_s` and
    `after_s` are seconds a scan spends outside of the accelerator before and after its tiles, hashing apart.
    """

    tiles_per_s: Figure
    read_core_s: Figure
    mb_per_tile: Figure
    mb_per_slide: Figure
    hash_mb_per_s: Figure
    before_s: Figure
    after_s: Figure

    @property
    def latency_before_s(self) -> float:
        """Seconds from a file's arrival until its tiles may be embedded."""
        return self.before_s.value + self.mb_per_slide.value / self.hash_mb_per_s.value


def default_rates() -> Rates:
    """Figures for a large encoder (ViT-g/16) on an H100, with slides of 0.25 um/px read at 0.5."""
    return Rates(
        tiles_per_s=Figure(
            value=1080.0,
            unit="tiles/s",
            source=Source.COMPUTED,
            note="ViT-g/16, 456 GFLOP a tile, at half of an H100's 989 TFLOPS in bfloat16",
        ),
        read_core_s=Figure(
            value=0.0012,
            unit="core s/tile",
            source=Source.MEASURED,
            note="JPEG tiles of 0.25 um/px read at 0.5, prototype of the reading processes; other formats cost more",
        ),
        mb_per_tile=Figure(
            value=0.056,
            unit="MB/tile",
            source=Source.COMPUTED,
            note="tissue of 2.25 bits a pixel, 200,000 pixels a tile",
        ),
        mb_per_slide=Figure(value=1000.0, unit="MB/slide", source=Source.ASSUMED, note="the whole file, hashed once"),
        hash_mb_per_s=Figure(
            value=400.0, unit="MB/s", source=Source.ASSUMED, note="one core with storage that keeps up"
        ),
        before_s=Figure(value=2.0, unit="s", source=Source.ASSUMED, note="open, find tissue, judge quality"),
        after_s=Figure(value=4.0, unit="s", source=Source.ASSUMED, note="50 dropout passes, pictures, records"),
    )


def given(rates: Rates, **values: float | None) -> Rates:
    """The rates with those replaced that somebody gave; None leaves one as it is."""
    known = {item.name for item in fields(Rates)}
    changes = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name} is no rate")
        if value is not None:
            changes[name] = replace(getattr(rates, name), value=value, source=Source.GIVEN, note="an option")
    return replace(rates, **changes)


_BEFORE = ("open", "tissue", "quality")
_AFTER = ("passes", "artefacts")


def measured_rates(rates: Rates, observations: Sequence[Observation]) -> Rates:
    """The rates with those replaced that the observations of a run's scans tell: device, reading, before and after."""
    answered = [one for one in observations if one.error is None and one.n_tiles > 0]
    changes: dict[str, Figure] = {}
    note = f"mean of {len(answered)} scans of the run"
    for name, stage in (("tiles_per_s", "encode"), ("read_core_s", "read")):
        timed = [one for one in answered if one.timings.get(stage, 0.0) > 0]
        n_tiles, seconds = sum(one.n_tiles for one in timed), sum(one.timings[stage] for one in timed)
        if n_tiles:
            value = n_tiles / seconds if name == "tiles_per_s" else seconds / n_tiles
            changes[name] = replace(
                getattr(rates, name), value=value, source=Source.MEASURED, note=f"{len(timed)} scans of the run"
            )
    for name, stages in (("before_s", _BEFORE), ("after_s", _AFTER)):
        if answered and any(stage in one.timings for one in answered for stage in stages):
            total = sum(one.timings.get(stage, 0.0) for one in answered for stage in stages)
            changes[name] = replace(
                getattr(rates, name), value=total / len(answered), source=Source.MEASURED, note=note
            )
    return replace(rates, **changes)
