"""The posterior process: reads a scan's embeddings from its checkpoint and runs the Monte-Carlo passes."""

import time
from typing import TYPE_CHECKING

from pellucid.engine.buffers import Buffers
from pellucid.engine.checkpoint import read_checkpoint
from pellucid.engine.child import ProcessUnusable, Step, run
from pellucid.engine.messages import Job, Sample, Sampled, Setup
from pellucid.engine.models import make

if TYPE_CHECKING:
    from pellucid.uncertainty import Sampler


class Posterior:
    """Does the posterior process's jobs."""

    def __init__(self, setup: Setup, buffers: Buffers) -> None:  # noqa: ARG002 - embeddings come from the checkpoint
        self._sample: Sampler = make(setup.factory)

    @property
    def detail(self) -> str:
        """With what it samples."""
        return "cpu"

    def do(self, job: Job, *, step: Step, waited_s: float) -> Sampled:  # noqa: ARG002
        """Do a job; see `child.Work`."""
        if not isinstance(job, Sample):
            raise ProcessUnusable(f"{type(job).__name__} is no job of the posterior process")
        start = time.perf_counter()
        features, _ = read_checkpoint(job.path)
        step()
        passes = self._sample(features)
        return Sampled(
            job=job.job,
            logits=passes.logits,
            dropout_free_logit=passes.dropout_free_logit,
            attention_mean=passes.attention_mean,
            attention_sd=passes.attention_sd,
            embedding=passes.embedding,
            ensemble_logits=passes.ensemble_logits,
            tumour=passes.tumour,
            seconds=time.perf_counter() - start,
        )

    def rest(self) -> None:
        """Nothing is kept between jobs."""


if __name__ == "__main__":
    run(Posterior)
