"""What can be told before hours are spent: whether a table can be certified on at all, and its policy be written."""

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.evaluation.errors import CohortUnusable, PatientsUnknown, PolicyPlaceUnusable
from pellucid.evaluation.specimens import named_rows
from pellucid.evaluation.targets import CertificationTargets
from pellucid.triage import SCANNER
from pellucid.triage.gates import CONFIRMED, DIAGNOSIS

if TYPE_CHECKING:
    from pellucid.bundle import Bundle


def check_table(cohort: Cohort, bundle: "Bundle", targets: CertificationTargets) -> None:
    """Check that a certification on these rows could come to anything.

    Args:
        cohort: the rows of the certification split.
        bundle: the model bundle.
        targets: what is to be shown, of which strata.

    Raises:
        CohortUnusable: a stratum that no row states, a diagnosis that none confirms where the model can't tell tumour,
            or files that are absent.
        PatientsUnknown: the bundle tells nothing of the specimens that it was tuned on.
    """
    if not bundle.tuning:
        raise PatientsUnknown(f"The bundle {bundle.name} tells nothing of its tuning specimens, which plan the tests.")
    stated = {name for entry in cohort.entries for name, value in entry.strata if value}
    for name in (*targets.strata, *targets.required):
        if name not in stated | {SCANNER}:
            raise CohortUnusable(f"No row of the split states {name!r}.{_nearest(name, stated)}")
    confirmed = any(dict(entry.strata).get(DIAGNOSIS, "").lower() == CONFIRMED for entry in cohort.entries)
    if bundle.tumour is None and not confirmed:
        raise CohortUnusable(
            "This model can't tell tumour, and no row of the split says that the diagnosis is confirmed: every "
            "specimen would be held back."
        )
    if absent := [entry for entry in cohort.entries if not entry.path.exists()]:
        raise CohortUnusable(
            f"The files of {named_rows(absent)} are absent.",
            remedy="Bring the files back, or take the rows out; either way before their labels are opened.",
        )


def check_place(path: Path, *, model: str, salt: str | None = None) -> SitePolicy | None:
    """Check that a policy about a model may be written to a path; the one of the same certification that is there.

    Args:
        path: where the policy shall be written.
        model: the model digest.
        salt: that of the certification, as soon as it is known.

    Raises:
        PolicyPlaceUnusable: the path can't be written to, or holds anything but a silent policy about the same model,
            and of the same certification where `salt` is given.
    """
    from pellucid.bundle.policies import read_policy

    folder = next(one for one in path.absolute().parents if one.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise PolicyPlaceUnusable(f"The policy can't be written to {path}.")
    if not path.exists():
        return None
    try:
        policy = read_policy(path, ()).policy
    except PellucidError as error:
        raise PolicyPlaceUnusable(f"{path} is there already, and is no policy: {error.message}") from error
    if policy.mode is not Mode.SILENT or policy.model != model or salt not in {None, policy.salt}:
        raise PolicyPlaceUnusable(f"{path} holds another policy already, '{policy.name}' ({policy.mode.value}).")
    return policy


def _nearest(name: str, stated: set[str]) -> str:
    near = difflib.get_close_matches(name, [*sorted(stated), SCANNER], n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else f" Stated are {', '.join(sorted(stated)) or 'none'}."
