"""What is answered under a certificate, how often over time, and whether a certificate stands behind each answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pellucid.core.serial import from_plain
from pellucid.domain.decision import Decision, Disposition, Verdict
from pellucid.domain.observation import Observation
from pellucid.domain.policy import SitePolicy
from pellucid.monitoring.confidence import is_escalated, last_scans, windows_of
from pellucid.monitoring.rates import Count, Rate, rate
from pellucid.monitoring.seen import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pellucid.records import Run

SCANNER, SITE = "scanner", "site"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRates:
    """How often each verdict and each disposition was given; every one of them is there, also at none.

    `label` says of which window or group; `answered` counts the verdicts other than undetermined.
    """

    label: str
    answered: Rate
    verdicts: dict[str, Rate]
    dispositions: dict[str, Rate]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGroup:
    """The specimens of one scanner or one site; `over_time` is the share answered in each window."""

    by: str
    rates: AnswerRates
    over_time: tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCheck:
    """Whether each answer is one that its run's policy could allow. It always is, unless the software is defective.

    `n_decisions` were looked through, all versions under all models; `n_answered` of them are no "undetermined".
    `defects` counts the answers without a certificate by what is wrong. `looked` is False where nobody gave the
    policies, and then nothing was found because nothing was looked for.
    """

    looked: bool
    n_decisions: int
    n_answered: int
    defects: tuple[Count, ...]

    @property
    def n_defects(self) -> int:
        """Answers that no certificate in the records allows."""
        return sum(one.n for one in self.defects)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.looked:
            return "Not looked at: whether a certificate stands behind each answer."
        said = f"{self.n_decisions} decisions looked through, {self.n_answered} of them negative or positive"
        if self.n_defects:
            return f"{said}: {self.n_defects} WITHOUT a certificate that allows it. This is a defect of the software."
        return f"{said}: none without a certificate that allows it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Autonomy:
    """Answers under certificates: all together, in the windows of confidence, by scanner and by site."""

    overall: AnswerRates
    by: str
    windows: tuple[AnswerRates, ...]
    groups: tuple[AnswerGroup, ...]
    check: CertificateCheck


def policies_of(runs: "Iterable[Run]") -> dict[str, SitePolicy]:
    """The policies of `runs` by their digest, as they were recorded with each run."""
    # a run that recorded none vouches for no answer: what was decided under it is reported
    distinct = {run.versions.policy: run.settings["policy"] for run in runs if "policy" in run.settings}
    return {digest: from_plain(SitePolicy, policy) for digest, policy in distinct.items()}


def describe_autonomy(
    observations: Sequence[Observation], decisions: Sequence[Decision], check: CertificateCheck
) -> Autonomy:
    """Answers among one model's decisions, one a specimen; its observations tell time, scanner and site."""
    by, windows = windows_of(observations)
    last = last_scans(observations, decisions)
    members = [(label, [last[index] for index in found if index in last]) for label, found in windows]
    groups: list[AnswerGroup] = []
    for name, values in (
        (SCANNER, {one.specimen: one.scanner for one in observations}),
        (SITE, {one.specimen: one.strata.get(SITE) for one in observations}),
    ):
        groups += _groups(name, values, decisions, [found for _, found in members])
    return Autonomy(
        overall=_rates("all", decisions),
        by=by,
        windows=tuple(_rates(label, found) for label, found in members),
        groups=tuple(groups),
        check=check,
    )


def check_certificates(decisions: Sequence[Decision], policies: Mapping[str, SitePolicy] | None) -> CertificateCheck:
    """Hold every answer against the policy that it was given under.

    Args:
        decisions: all of them, whatever their model and version.
        policies: by digest (see `policies_of`); None where they aren't at hand.
    """
    answered = [decision for decision in decisions if not is_escalated(decision)]
    found: Counter[str] = Counter()
    if policies is not None:
        found.update(defect for decision in answered if (defect := _defect(decision, policies)) is not None)
    return CertificateCheck(
        looked=policies is not None,
        n_decisions=len(decisions),
        n_answered=len(answered),
        defects=tuple(Count(name=name, n=n, total=len(answered)) for name, n in found.most_common()),
    )


def _defect(decision: Decision, policies: Mapping[str, SitePolicy]) -> str | None:
    """What is wrong with an answer; None where a certificate could allow it.

    The rule itself is not run again here (`pellucid explain` does that): this asks only what can be told from the
    recorded policy, and so also finds an error in the rule.
    """
    policy = policies.get(decision.versions.policy)
    if policy is None:
        return "its policy is in no run's record"
    if not policy.certificates:
        return "its policy holds no certificate"
    if policy.model != decision.versions.model:
        return "the certificates of its policy are about another model"
    if decision.findings:
        return "reasons against an answer were found"
    if decision.verdict is Verdict.POSITIVE and not policy.autonomous_positive:
        return "its policy gives no positive answers"
    side = [one.negative if decision.verdict is Verdict.NEGATIVE else one.positive for one in policy.certificates]
    return "no certificate of its policy has a threshold for this answer" if set(side) == {None} else None


def _rates(label: str, decisions: Sequence[Decision]) -> AnswerRates:
    n = len(decisions)
    return AnswerRates(
        label=label,
        answered=rate(sum(not is_escalated(decision) for decision in decisions), n),
        verdicts={one.value: rate(sum(decision.verdict is one for decision in decisions), n) for one in Verdict},
        dispositions={
            one.value: rate(sum(decision.disposition is one for decision in decisions), n) for one in Disposition
        },
    )


def _groups(
    by: str, values: Mapping[str, str | None], decisions: Sequence[Decision], windows: Sequence[Sequence[Decision]]
) -> list[AnswerGroup]:
    def of(group: str, among: Sequence[Decision]) -> list[Decision]:
        return [decision for decision in among if (values.get(decision.specimen) or UNKNOWN) == group]

    sizes = Counter(values.get(decision.specimen) or UNKNOWN for decision in decisions)
    return [
        AnswerGroup(
            by=by,
            rates=_rates(group, of(group, decisions)),
            over_time=tuple(_rates(group, of(group, window)).answered for window in windows),
        )
        for group, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ]
