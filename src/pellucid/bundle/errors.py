"""Every way in which a key, a bundle or its making can fail."""

from pellucid.core.errors import PellucidError


class BundleMissing(PellucidError):
    """There is no bundle at the path."""

    code = "PEL-BUNDLE-001"
    remedy = "Give the folder of a model bundle: the one that holds manifest.json."


class ManifestInvalid(PellucidError):
    """The manifest can't be read as one, or names what a bundle may not hold."""

    code = "PEL-BUNDLE-002"
    remedy = "Copy the bundle again from its source."


class BundleTooNew(PellucidError):
    """The bundle's format, or its scheme of dropout masks, is one this version doesn't know."""

    code = "PEL-BUNDLE-003"
    remedy = "Update Pellucid to the version that made the bundle."


class BundleAltered(PellucidError):
    """A file of the bundle is missing, added, or other than when it was signed."""

    code = "PEL-BUNDLE-004"
    remedy = "Copy the bundle again from its source; do not use this one."


class BundleUnsigned(PellucidError):
    """The bundle has no signature."""

    code = "PEL-BUNDLE-005"
    remedy = "Ask whoever made the bundle for its signature.json."


class BundleUntrusted(PellucidError):
    """The bundle is signed by a key that this site doesn't trust."""

    code = "PEL-BUNDLE-006"
    remedy = (
        "Get the maker's public key by another way than the bundle, compare its id with `pellucid keys show FILE`, "
        "and list the file under trusted_keys in pellucid.toml."
    )


class SignatureInvalid(PellucidError):
    """The signature isn't the named key's signature of this manifest."""

    code = "PEL-BUNDLE-007"
    remedy = "The manifest or the signature was altered: copy the bundle again from its source; do not use this one."


class ModelDigestMismatch(PellucidError):
    """The weights or the spec are not those that the model digest names."""

    code = "PEL-BUNDLE-008"
    remedy = "Ask whoever made the bundle to build it again from the trained model; do not use this one."


class GoldenMismatch(PellucidError):
    """The model, run on this machine, doesn't reproduce the bundle's golden checks."""

    code = "PEL-BUNDLE-009"
    remedy = "Run `pellucid doctor`: another torch version or device changes the numbers; do not use answers from here."


class BundleExists(PellucidError):
    """Something is already where the bundle should be written."""

    code = "PEL-BUNDLE-010"
    remedy = "Name another folder: a bundle is never overwritten."


class BundleUnreadable(PellucidError):
    """The operating system refuses to read a file of the bundle."""

    code = "PEL-BUNDLE-011"
    remedy = "Check the permissions of the folder and its files."


class PartsInvalid(PellucidError):
    """The parts of a bundle don't belong together."""

    code = "PEL-BUNDLE-012"
    remedy = "Build the bundle from one finished training run."


class KeyMissing(PellucidError):
    """There is no key at the path."""

    code = "PEL-BUNDLE-020"
    remedy = "Give the path of a key file; `pellucid keys generate FILE` makes a new pair."


class KeyInvalid(PellucidError):
    """A file isn't an ed25519 key of the kind that is needed."""

    code = "PEL-BUNDLE-021"
    remedy = "Use a PEM file that `pellucid keys generate FILE` wrote: FILE signs, FILE.pub is what others trust."


class KeyExposed(PellucidError):
    """A private key can be read by others than its owner."""

    code = "PEL-BUNDLE-022"
    remedy = "If nobody else can have copied it, run `chmod 600` on it; else generate a new key."


class KeyExists(PellucidError):
    """Something is already where the key should be written."""

    code = "PEL-BUNDLE-023"
    remedy = "Name another file: a key is never overwritten."
