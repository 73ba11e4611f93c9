"""The monitoring report: five questions answered from the observation rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.core.clock import utc_now
from pellucid.domain.decision import Decision
from pellucid.domain.observation import Observation
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reference import ReferenceProfile
from pellucid.monitoring.autonomy import Autonomy, check_certificates, describe_autonomy
from pellucid.monitoring.confidence import Confidence, describe_confidence
from pellucid.monitoring.drift import Drift, describe_drift
from pellucid.monitoring.escalation import Escalation, describe_escalation
from pellucid.monitoring.seen import Seen, describe_input

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport:
    """What the model sees, how sure it is, whether anything drifts, what is escalated, and what is answered without.

    `seen` covers every observation, `autonomy.check` every decision; the rest covers those under `model` only. `notes`
    say what a reader must know before the numbers. `bundle` is the bundle's name, None where none was named.
    """

    format: int
    made_at: str
    model: str | None
    bundle: str | None
    synthetic: bool
    notes: tuple[str, ...]
    seen: Seen
    confidence: Confidence
    drift: Drift
    escalation: Escalation
    autonomy: Autonomy


def monitor(
    observations: Sequence[Observation],
    decisions: Sequence[Decision] = (),
    *,
    reference: ReferenceProfile | None = None,
    model: str | None = None,
    bundle: str | None = None,
    synthetic: bool = False,
    made_at: str | None = None,
    policies: Mapping[str, SitePolicy] | None = None,
) -> MonitoringReport:
    """Answer the five questions.

    Args:
        observations: rows in any order, of any model.
        decisions: in the order they were made; the last of a specimen under the model counts.
        reference: the reference profile of the bundle, None for no comparison.
        model: the model digest that the reference belongs to; where None, that of the latest observation.
        bundle: the bundle's name.
        synthetic: whether the bundle was trained on synthetic slides.
        made_at: the report's time; now where None.
        policies: those of all runs by their digest (see `policies_of`), to check that a certificate stands behind each
            answer; None leaves that unlooked at, and the report says so.

    Raises:
        ValueError: a reference without the model digest it belongs to.
    """
    if reference is not None and model is None:
        raise ValueError("A reference belongs to one model: its digest is needed.")
    ordered = sorted(observations, key=lambda one: (one.at, one.scan))
    chosen = model or (ordered[-1].model if ordered else None)
    own = [observation for observation in ordered if observation.model == chosen]
    decided = {decision.specimen: decision for decision in decisions if decision.versions.model == chosen}
    latest = list(decided.values())
    return MonitoringReport(
        format=FORMAT,
        made_at=made_at or utc_now(),
        model=chosen,
        bundle=bundle,
        synthetic=synthetic,
        notes=_notes(ordered, own, named=model is not None),
        seen=describe_input(ordered),
        confidence=describe_confidence(own, latest),
        drift=describe_drift(own, reference, seed=chosen or ""),
        escalation=describe_escalation(own, latest),
        autonomy=describe_autonomy(own, latest, check_certificates(decisions, policies)),
    )


def _notes(ordered: Sequence[Observation], own: Sequence[Observation], *, named: bool) -> tuple[str, ...]:
    if not ordered:
        return ("Nothing has been observed yet.",)
    others = len(ordered) - len(own)
    notes = []
    if others:
        which = "the named bundle's model" if named else "the model last used"
        notes.append(
            f"{others} of {len(ordered)} scans were read under another model; only those under {which} are compared."
        )
    if named and not own:
        notes.append("No scan was read under the named bundle's model.")
    return tuple(notes)
