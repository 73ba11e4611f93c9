"""Every way in which a site's policy, or putting it into force, can fail."""

from pellucid.core.errors import PellucidError


class PolicyMissing(PellucidError):
    """There is no policy file at the path, or it can't be read."""

    code = "PEL-POLICY-001"
    remedy = "Give the path of a policy file: `pellucid certify` and `pellucid policy activate` write one."


class PolicyInvalid(PellucidError):
    """The file isn't a policy, holds more than its format knows, or contradicts itself."""

    code = "PEL-POLICY-002"
    remedy = "Take the file as Pellucid wrote it: an editor that lays it out anew spoils it. Or certify again."


class PolicyTooNew(PellucidError):
    """The policy's format is one that this version doesn't know."""

    code = "PEL-POLICY-003"
    remedy = "Update Pellucid to the version that wrote the policy."


class PolicyUnsigned(PellucidError):
    """The policy has no signature."""

    code = "PEL-POLICY-004"
    remedy = "Take the file as `pellucid certify` or `pellucid policy activate` wrote it, with its signatures."


class PolicyUntrusted(PellucidError):
    """Nobody whose key this site lists for policies has signed the policy."""

    code = "PEL-POLICY-005"
    remedy = (
        "Have it signed with a key of this site (`pellucid policy sign`), and list that key's public half under "
        "policy_keys in pellucid.toml; keys of bundles under trusted_keys don't count for policies."
    )


class PolicyAltered(PellucidError):
    """A signature of the policy isn't the named key's: something in the policy was changed after it was signed."""

    code = "PEL-POLICY-006"
    remedy = "Do not use this file. Take the one that was signed, or certify again."


class PolicyForOtherModel(PellucidError):
    """The policy's certificates are about another model."""

    code = "PEL-POLICY-010"
    remedy = "Run with the bundle that was certified, or certify this one; see `pellucid policy show`."


class PolicyForOtherGates(PellucidError):
    """The policy's certificates were made with another calibration or other limits."""

    code = "PEL-POLICY-011"
    remedy = "Run with the bundle that was certified, or certify again with this one."


class PolicySynthetic(PellucidError):
    """Certificates of generated slides and of real ones were mixed up."""

    code = "PEL-POLICY-012"
    remedy = "Certify on real specimens: what was shown on generated slides says nothing about a patient."


class ActivationRefused(PellucidError):
    """The policy can't be put into force as asked."""

    code = "PEL-POLICY-020"
    remedy = "See with `pellucid policy show` what was certified; give a name, a reason and what the message asks for."


class PrevalenceOutside(PellucidError):
    """The expected share of mutated specimens is outside what was certified."""

    code = "PEL-POLICY-021"
    remedy = "Certify on specimens of the population that the site sees; a predictive value moves with the prevalence."


class PolicyExpired(PellucidError):
    """The policy's certificates don't hold any longer."""

    code = "PEL-POLICY-022"
    remedy = "Certify again on new specimens."
