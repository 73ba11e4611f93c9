"""A policy in plain words."""

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Side
from pellucid.domain.policy import Mode, SitePolicy

if TYPE_CHECKING:
    from pellucid.bundle.policies import SignedPolicy

Row = tuple[str, str]

_MODES = {
    Mode.SILENT: "answers are recorded and shown to nobody who treats the patient",
    Mode.FOR_REVIEW: "a pathologist sees every answer and decides",
    Mode.AUTONOMOUS: "what a certificate covers is reported without a person, all else is for review",
}
_ASSUMES = (
    "All of it holds for specimens drawn from the same population as the certified ones: the same share of mutated "
    "specimens, scanners, staining and kinds of specimen, and the same model with the same limits."
)


def print_policy(signed: "SignedPolicy", warnings: Sequence[str]) -> None:
    """Print what the policy allows, why, and who signed it."""
    console = Console(width=None, highlight=False)
    policy = signed.policy
    console.print(Text(f"Policy '{policy.name}'", style="bold"))
    console.print(Text("Research use only. Not a medical device; not for diagnosis or treatment."))
    if policy.synthetic:
        console.print(
            Text("SYNTHETIC: certified on generated slides; no real scan is decided under it.", style="yellow")
        )
    for warning in warnings:
        console.print(Text(warning, style="yellow"))
    _print_rows(console, None, list(_about(policy, signed.digest)))
    print_certificates(policy, console)
    _print_rows(console, "Signatures", [_about_signature(signed, index) for index in range(len(signed.signatures))])


def print_certificates(policy: SitePolicy, console: Console | None = None) -> None:
    """Print what each certificate claims, on which grounds and for which specimens."""
    console = console or Console(width=None, highlight=False)
    for number, certificate in enumerate(policy.certificates, start=1):
        title = f"Certificate {number} of {len(policy.certificates)}: {certificate.title}"
        _print_rows(console, title, list(_about_certificate(certificate, policy)))
    if policy.certificates:
        console.print(Text(_ASSUMES))


def _print_rows(console: Console, title: str | None, rows: Sequence[Row]) -> None:
    if title is not None:
        console.print(Text(f"\n{title}", style="bold"))
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(min_width=10, max_width=20, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for label, sentence in rows:
        table.add_row(Text(label, style="dim"), Text(sentence))
    console.print(table)


def _about(policy: SitePolicy, digest: str) -> Iterator[Row]:
    yield "mode", f"{policy.mode.value}: {_MODES[policy.mode]}"
    if policy.activated_by:
        yield "put in force by", f"{policy.activated_by}: {policy.reason or 'no reason given'}"
    if policy.prevalence is not None:
        yield "expects", f"{_percent(policy.prevalence)} of the specimens to be mutated"
    if policy.certificates:
        off = "off: a positive answer is always for review"
        on = "given without a person where certified; a reason to sequence, never in its place"
        yield "positive answers", on if policy.autonomous_positive else off
        yield "certified on", policy.certified_on or "not stated"
        yield "holds until", policy.expires_on or "no end is stated"
        total = sum(one.delta for one in policy.certificates)
        yield "chance of error", f"{_percent(total)} in all (delta) that any threshold below breaks its claim"
        yield "patients used", f"{len(policy.patients)}; their digests are in the file"
    else:
        yield "certificates", "none: every specimen is for a person to decide"
    if policy.required_strata:
        yield "must be known", ", ".join(_words(name) for name in policy.required_strata)
    yield "model", policy.model or "any"
    yield "gates", policy.gates or "any"
    yield "digest", digest


def _about_certificate(certificate: Certificate, policy: SitePolicy) -> Iterator[Row]:
    counts = f"{certificate.n_specimens} specimens, one a patient; {certificate.n_positive} mutated"
    yield "rests on", f"{counts}; {certificate.n_passed} passed every gate"
    yield "negative alone", _threshold(certificate.negative, Side.NEGATIVE)
    positive = _threshold(certificate.positive, Side.POSITIVE)
    if certificate.positive is not None and not policy.autonomous_positive:
        positive = f"switched off (certified: {positive})"
    yield "positive alone", positive
    for claim in certificate.claims:
        yield _claim_label(claim), _claim(claim)
    for shortfall in certificate.shortfalls:
        yield f"no {shortfall.side.value} threshold", shortfall.sentence
    split = " + ".join(_percent(claim.delta) for claim in certificate.claims)
    yield "delta", f"{_percent(certificate.delta)}" + (f" = {split}, a claim each in this order" if split else "")
    low, high = _percent(certificate.prevalence_low), _percent(certificate.prevalence_high)
    yield "prevalence", f"from {low} to {high} mutated; elsewhere it doesn't hold"
    for name, values in sorted(certificate.seen.items()):
        shown = ", ".join(value or "not stated" for value in values) or "none"
        yield f"covers {_words(name)}", shown


def _claim_label(claim: Claim) -> str:
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        return "missed positives"
    name = "NPV" if claim.side is Side.NEGATIVE else "PPV"
    return name if claim.prevalence_max is None else f"{name} up to {_percent(claim.prevalence_max)}"


def _claim(claim: Claim) -> str:
    confidence = f"with {_percent(1 - claim.delta)} confidence"
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        asked = f"Of the mutated specimens, at most {_percent(claim.target)} get the answer negative"
        shown = f"shown: at most {_bound(claim.bound, ROUND_CEILING)}" if claim.bound is not None else "not shown"
        counted = f"{claim.errors} of {claim.n} mutated specimens got it"
    else:
        asked = f"Of the specimens answered {claim.side.value}, at least {_percent(claim.target)} are so"
        shown = f"shown: at least {_bound(claim.bound, ROUND_FLOOR)}" if claim.bound is not None else "not shown"
        counted = f"{claim.errors} wrong of {claim.n} such answers"
    if claim.prevalence_max is not None:
        asked += f", as long as at most {_percent(claim.prevalence_max)} are mutated"
    return f"{asked}; {shown}, {confidence} ({counted})."


def _threshold(value: float | None, side: Side) -> str:
    if value is None:
        return "never: no threshold was certified"
    if side is Side.NEGATIVE:
        return f"where the whole interval is at or below p = {_logistic(value):.4f} (logit {value:.4f})"
    return f"where the whole interval is at or above p = {_logistic(value):.4f} (logit {value:.4f})"


def _about_signature(signed: "SignedPolicy", index: int) -> Row:
    one = signed.signatures[index]
    known = signed.verified.get(one.key_id)
    trust = "NOT TRUSTED: not a key of this site, not verified" if known is None else f"trusted ({known}), verified"
    return one.meaning.value, f"{one.name}, {one.at}, key {one.key_id}, {trust}"


def _logistic(logit: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * logit))


def _percent(share: float) -> str:
    """A share in percent, with as many digits as it takes to tell it from a round number."""
    return f"{100 * share:.4g}%"


def _bound(share: float, rounding: str) -> str:
    """A bound in percent, rounded so that no more is said than was shown."""
    return f"{(100 * Decimal(repr(share))).quantize(Decimal('0.01'), rounding=rounding).normalize():f}%"


def _words(name: str) -> str:
    return name.replace("_", " ")
