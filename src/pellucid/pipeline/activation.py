"""Putting a policy into force: the new file and the event in the audit trail, both or neither."""

from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.files import atomic_path
from pellucid.domain.policy import Mode
from pellucid.records import Action, Records

if TYPE_CHECKING:
    from pellucid.bundle import SigningKey
    from pellucid.bundle.policies import SignedPolicy


def put_in_force(
    signed: "SignedPolicy",
    path: Path,
    records: Records,
    *,
    mode: Mode,
    by: str,
    reason: str,
    key: "SigningKey",
    prevalence: float | None = None,
    autonomous_positive: bool = False,
    actor: str | None = None,
) -> "SignedPolicy":
    """Write the policy in another mode, signed anew, and say so in the audit trail.

    The event is written once the file lies complete on the disk under a temporary name, and only then is it renamed: a
    failure of either leaves the policy that was in force. A crash between the two leaves an event without a file, never
    a file without an event; the same call again mends it.

    Args:
        signed: a policy as loaded: signed by somebody whom the site trusts.
        path: where the policy in force lies; what is there is replaced.
        records: hold the audit trail.
        mode: what is to happen with answers.
        by: who says so.
        reason: why; no patient's name.
        key: the key that signs the new file.
        prevalence: the share of mutated specimens that the site expects; needed for autonomy.
        autonomous_positive: let "positive" be answered without a person too.
        actor: the account that acts, for the audit trail.

    Raises:
        PolicyUntrusted: nobody whom the site trusts has signed it.
        ActivationRefused, PrevalenceOutside, PolicyExpired: of `activate`.
        StorageFull, RecordsLocked and others of the records: nothing was changed.
    """
    import os

    from pellucid.bundle.policies import Meaning, activate, load_policy, policy_bytes, sign_policy, untrusted

    if not signed.is_trusted:
        raise untrusted(path, signed, ())
    policy = activate(
        signed.policy, mode=mode, by=by, reason=reason, prevalence=prevalence, autonomous_positive=autonomous_positive
    )
    signature = sign_policy(policy, key, name=by, meaning=Meaning.ACTIVATED)
    with atomic_path(path) as part:
        with part.open("wb") as file:
            file.write(policy_bytes(policy, [signature]))
            file.flush()
            os.fsync(file.fileno())
        active = load_policy(part, [key.trusted(by)])
        records.audit_append(
            Action.POLICY_ACTIVATE,
            actor=actor,
            object_type="policy",
            object_id=active.digest,
            payload={
                "from": signed.digest,
                "to": active.digest,
                "mode_before": signed.policy.mode.value,
                "mode": mode.value,
                "by": by.strip(),
                "reason": reason.strip(),
                "prevalence": prevalence,
                "autonomous_positive": autonomous_positive,
                "model": policy.model,
                "certificates": len(policy.certificates),
                "key": key.key_id,
            },
        )
    return active
