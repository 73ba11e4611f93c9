"""The gates that a model bundle gives to a decision: made in one place for its tuning specimens and for production."""

from typing import TYPE_CHECKING

from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.triage.evidence import Gates

if TYPE_CHECKING:
    from pellucid.bundle.parts import Calibration


def make_gates(
    calibration: "Calibration", reference: ReferenceProfile, tumour: TumourHead | None, *, synthetic: bool
) -> Gates:
    """Calibration, limits and the limits of scan quality that are in force.

    Args:
        calibration: temperature, interval and number of passes.
        reference: limits of spread and distance.
        tumour: the tumour head, if there is one.
        synthetic: whether the model was trained on generated slides.
    """
    from pellucid.slides.quality import quality_limits_digest  # with OpenCV, which an explanation doesn't need

    return Gates(
        temperature=calibration.temperature,
        level=calibration.level,
        sd_limit=reference.sd_limit,
        distance_limit=reference.distance_limit,
        synthetic_model=synthetic,
        tumour_limit=None if tumour is None else tumour.limit,
        tumour_head=None if tumour is None else tumour.digest,
        n_passes=calibration.n_passes,
        quality=quality_limits_digest(),
    )
