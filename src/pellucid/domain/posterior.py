"""What the model believes of a scan or a specimen after all its passes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Summary of the Monte-Carlo passes.

    `logits` are the raw logits of each pass, as the head gave them (mean over a specimen's scans, pass by pass); all
    else is derived from them and `temperature`. `mean_logit` and `sd_logit` are of the calibrated logits
    (raw / temperature; sd with n - 1). `probability` is the logistic of `mean_logit`, the number a page shows;
    `mean_probability` averages the passes' probabilities. `low` and `high` bound the central `level` of the passes'
    probabilities. `entropy` and `mutual_information` are in nats, the latter corrected by n / (n - 1).
    """

    logits: tuple[float, ...]
    temperature: float
    probability: float
    mean_probability: float
    mean_logit: float
    sd_logit: float
    low: float
    high: float
    level: float
    entropy: float
    mutual_information: float
    n_scans: int
