"""How large a pixel is, and whether that can be believed."""

from pellucid.domain.scan import Scale, ScaleSource, ScanInfo
from pellucid.slides.errors import ScaleAbsurd, ScaleContradicted, ScaleMissing, ScaleTooCoarse

MIN_MPP = 0.05
MAX_MPP = 5.0
MAX_OVERVIEW_MPP = 100.0
"""Up to here a claim is that of an overview image; above, it is nonsense such as the 1000 um/px of generic TIFFs."""
MAX_ANISOTROPY = 0.05
MAX_OBJECTIVE_FACTOR = 1.6
"""Scanners with a 20x objective write 0.31 to 0.52 um/px, with 40x 0.17 to 0.27; a wrong magnification is off by 2."""
MAX_OVERRIDE_DIFFERENCE = 0.2


def choose_scale(
    claimed: tuple[float, float] | None,
    source: str,
    objective_power: float | None,
    override: float | None,
    override_detail: str,
) -> Scale | None:
    """The scale to use: an override where one is stated, else the file's claim; None where neither is usable.

    An override never replaces the plausible claim of an overview image (over 5 um/px): it can't add detail.

    Args:
        claimed: um/px in x and y as the file states them.
        source: the file's property the claim was read from.
        objective_power: nominal magnification as the file states it.
        override: um/px as a person states it.
        override_detail: where the person stated it.
    """
    mean = None if claimed is None else mean_mpp(*claimed)
    if mean is not None and _is_overview(mean):
        return None
    if override is not None:
        return Scale(mpp_x=override, mpp_y=override, source=ScaleSource.OVERRIDE, detail=override_detail)
    if claimed is None or mean is None or not MIN_MPP <= mean <= MAX_MPP:
        return None
    if not _is_isotropic(*claimed) or contradicts_objective(mean, objective_power):
        return None
    return Scale(mpp_x=claimed[0], mpp_y=claimed[1], source=ScaleSource.FILE, detail=source)


def require_scale(info: ScanInfo) -> Scale:
    """The scan's scale, if one can be believed.

    Raises:
        ScaleMissing: the file claims none, and no override was stated.
        ScaleAbsurd: the file's claim (without an override) or the override is outside of what microscopes do.
        ScaleContradicted: the claim contradicts itself or the objective power (without an override), or the
            override differs by more than 20 % from a claim that is plausible and contradicts nothing.
        ScaleTooCoarse: the file is an overview image, with or without an override.
    """
    if info.claimed_mpp is not None and _is_overview(info.claimed_mpp):
        raise ScaleTooCoarse(f"The file states {info.claimed_mpp:.4g} um/px: it is an overview image.")
    if info.scale is None:
        raise _why_unusable(info)
    if info.scale.source is ScaleSource.OVERRIDE:
        _check_override(info.scale.mpp, info)
    return info.scale


def check_resolution(scale: Scale, *, mpp: float, tolerance: float) -> None:
    """Check that a scan has the detail an encoder needs.

    Args:
        scale: the scan's scale.
        mpp: um/px at which the encoder sees tiles.
        tolerance: relative; 0.05 accepts a scan up to 5 % coarser.

    Raises:
        ScaleTooCoarse: the scan is coarser.
    """
    if scale.mpp > mpp * (1.0 + tolerance):
        raise ScaleTooCoarse(f"The scan has {scale.mpp:.4g} um/px, but the model needs {mpp:.4g} or finer.")


def mean_mpp(x: float, y: float) -> float:
    """The geometric mean of both directions, 0 where one of them isn't positive."""
    return float((x * y) ** 0.5) if x > 0.0 and y > 0.0 else 0.0


def contradicts_objective(mpp: float, objective_power: float | None) -> bool:
    """Whether um/px and nominal magnification differ by more than a factor of 1.6 from 10 / magnification."""
    if objective_power is None:
        return False
    ratio = mpp * objective_power / 10.0
    return not 1.0 / MAX_OBJECTIVE_FACTOR <= ratio <= MAX_OBJECTIVE_FACTOR


def _is_overview(mpp: float) -> bool:
    return MAX_MPP < mpp <= MAX_OVERVIEW_MPP


def _is_isotropic(x: float, y: float) -> bool:
    return max(x, y) <= min(x, y) * (1.0 + MAX_ANISOTROPY)


def _why_unusable(info: ScanInfo) -> ScaleMissing | ScaleAbsurd | ScaleContradicted:
    claimed = info.claimed_mpp
    if claimed is None:
        return ScaleMissing("The file doesn't state how large a pixel is (um/px).")
    if not MIN_MPP <= claimed <= MAX_MPP:
        return ScaleAbsurd(f"The file states {claimed:.4g} um/px; a scan has {MIN_MPP} to {MAX_MPP:.0f}.")
    if info.objective_power is not None and contradicts_objective(claimed, info.objective_power):
        return ScaleContradicted(
            f"The file states {claimed:.4g} um/px and an objective of {info.objective_power:g}x, "
            f"which has about {10.0 / info.objective_power:.3g}."
        )
    return ScaleContradicted(
        f"The file states um/px that differ by more than {MAX_ANISOTROPY:.0%} between x and y (mean {claimed:.4g})."
    )


def _check_override(override: float, info: ScanInfo) -> None:
    if not MIN_MPP <= override <= MAX_MPP:
        raise ScaleAbsurd(f"The override is {override:.4g} um/px; a scan has {MIN_MPP} to {MAX_MPP:.0f}.")
    claimed = info.claimed_mpp
    if claimed is None or not MIN_MPP <= claimed <= MAX_MPP or contradicts_objective(claimed, info.objective_power):
        return
    if abs(override / claimed - 1.0) > MAX_OVERRIDE_DIFFERENCE:
        raise ScaleContradicted(
            f"The override is {override:.4g} um/px, but the file states {claimed:.4g}.",
            remedy="Leave the override out, or correct it.",
        )
