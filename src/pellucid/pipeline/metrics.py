"""The closed label sets of a run's metrics."""

from typing import TYPE_CHECKING

from pellucid._version import __version__
from pellucid.core.errors import known_errors
from pellucid.core.telemetry.metrics import MetricLabels, ScanMetrics, scan_metrics
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.reasons import Reason

if TYPE_CHECKING:
    from pellucid.pipeline.models import Model

STAGES = ("open", "tissue", "quality", "read", "encode", "passes", "artefacts")
"""Every stage that a scan's time is measured in, in their order."""
_ROOMS = ("SLIDE", "RUN", "MODEL", "CORE", "RECORD")


def run_metrics(bundle: "Model") -> ScanMetrics:
    """Metrics at zero for a run under a bundle."""
    metrics = scan_metrics(
        MetricLabels(
            stages=STAGES,
            verdicts=tuple(verdict.value for verdict in Verdict),
            dispositions=tuple(disposition.value for disposition in Disposition),
            reasons=tuple(reason.value for reason in Reason),
            codes=tuple(code for code in known_errors() if code.split("-")[1] in _ROOMS),
            features=tuple(sorted(bundle.reference.features)),
        ),
        software_version=__version__,
    )
    metrics.set_model(model=bundle.model_digest, bundle=bundle.digest, name=bundle.name, synthetic=bundle.synthetic)
    return metrics
