"""Floor 4: from scans in a table to recorded answers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.pipeline.errors import AuditBroken
    from pellucid.pipeline.explanation import Explanation, explain_specimen
    from pellucid.pipeline.inputs import gather
    from pellucid.pipeline.interruption import StopRequest, stop_on_signals
    from pellucid.pipeline.metrics import run_metrics
    from pellucid.pipeline.run import METRICS, RunEvents, RunOptions, RunSummary, run_cohort
    from pellucid.pipeline.scan import ScoredScan, score

__all__ = [
    "METRICS",
    "AuditBroken",
    "Explanation",
    "RunEvents",
    "RunOptions",
    "RunSummary",
    "ScoredScan",
    "StopRequest",
    "explain_specimen",
    "gather",
    "run_cohort",
    "run_metrics",
    "score",
    "stop_on_signals",
]

_LAZY = {
    "AuditBroken": "errors",
    "METRICS": "run",
    "run_metrics": "metrics",
    "Explanation": "explanation",
    "RunEvents": "run",
    "RunOptions": "run",
    "RunSummary": "run",
    "ScoredScan": "scan",
    "StopRequest": "interruption",
    "explain_specimen": "explanation",
    "gather": "inputs",
    "run_cohort": "run",
    "score": "scan",
    "stop_on_signals": "interruption",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pellucid.pipeline.{_LAZY[name]}"), name)
