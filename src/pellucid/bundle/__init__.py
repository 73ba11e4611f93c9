"""Model bundles: built, signed, and verified before anything of them is used; and the keys to do so.

Importing this room and loading a bundle need no torch; building one, and running its model, do.
"""

from pellucid.bundle.building import build_bundle
from pellucid.bundle.errors import (
    BundleAltered,
    BundleExists,
    BundleMissing,
    BundleTooNew,
    BundleUnreadable,
    BundleUnsigned,
    BundleUntrusted,
    GoldenMismatch,
    KeyExists,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
    ManifestInvalid,
    ModelDigestMismatch,
    PartsInvalid,
    SignatureInvalid,
)
from pellucid.bundle.golden import TOLERANCE, record_golden
from pellucid.bundle.keys import SigningKey, TrustedKey, load_trusted_keys, read_keys, read_public_key
from pellucid.bundle.loading import Bundle, load_bundle
from pellucid.bundle.manifest import Manifest
from pellucid.bundle.parts import RESEARCH_USE, BundleParts, Calibration, GoldenChecks

__all__ = [
    "RESEARCH_USE",
    "TOLERANCE",
    "Bundle",
    "BundleAltered",
    "BundleExists",
    "BundleMissing",
    "BundleParts",
    "BundleTooNew",
    "BundleUnreadable",
    "BundleUnsigned",
    "BundleUntrusted",
    "Calibration",
    "GoldenChecks",
    "GoldenMismatch",
    "KeyExists",
    "KeyExposed",
    "KeyInvalid",
    "KeyMissing",
    "Manifest",
    "ManifestInvalid",
    "ModelDigestMismatch",
    "PartsInvalid",
    "SignatureInvalid",
    "SigningKey",
    "TrustedKey",
    "build_bundle",
    "load_bundle",
    "load_trusted_keys",
    "read_keys",
    "read_public_key",
    "record_golden",
]
