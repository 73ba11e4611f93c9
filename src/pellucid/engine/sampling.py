"""From the embeddings of a scan to its passes, in the posterior process."""

from collections.abc import Callable

from pellucid.engine.flow import Flow, Stage
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import Refused, Sample, Sampled
from pellucid.engine.scans import Scans, error_of_refusal


class Sampling:
    """Hands out the posterior process's jobs, the most urgent first.

    Args:
        scans: the scans in hand.
        next_job: gives job numbers.
        kills: a scan that ends its process so often is quarantined.
    """

    def __init__(self, scans: Scans, *, next_job: Callable[[], int], kills: int) -> None:
        self._scans, self._next_job, self._kills = scans, next_job, kills

    def next(self, member: Member) -> Assignment | None:
        """What the process does next; a scan that ended one before is alone in it."""
        waiting = [flow for flow in self._scans if flow.stage is Stage.PASSES and not flow.asked]
        flow = max(waiting, key=lambda one: (one.work.priority, -one.since), default=None)
        if flow is None or flow.checkpoint is None or (flow.kills and member.hand):
            return None
        flow.asked = True
        return Assignment(job=Sample(job=self._next_job(), path=flow.checkpoint.path), about=flow, kills=flow.kills)

    def answered(self, member: Member, assignment: Assignment, answer: Sampled | Refused) -> None:
        """The passes of a scan were run, or refused."""
        flow: Flow = assignment.about
        if flow.stage is not Stage.PASSES:
            return
        if isinstance(answer, Refused):
            self._scans.fail(flow, error_of_refusal(answer))
            return
        flow.passes, flow.kills = answer, 0
        flow.spend("passes", answer.seconds)
        flow.trace.add("passes", member.name, start=assignment.begun_at, duration=assignment.took_s)
        flow.stage, flow.asked = Stage.PICTURES, False

    def bereaved(self, hand: list[Assignment], *, blame: bool) -> None:
        """The process ended with jobs in hand, the first of which it was doing."""
        for nth, assignment in enumerate(hand):
            flow: Flow = assignment.about
            flow.asked = False
            if nth == 0 and blame:
                flow.kills += 1
                if flow.kills >= self._kills:
                    self._scans.quarantine(flow, flow.kills)
