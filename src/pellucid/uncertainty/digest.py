"""The model digest: which posterior a number belongs to."""

from pellucid.aggregators.config import GatedAttentionConfig
from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain
from pellucid.domain.encoder import EncoderSpec
from pellucid.uncertainty.masks import MASK_SCHEME


def model_digest(spec: EncoderSpec, head_config: GatedAttentionConfig, head_digest: str) -> str:
    """SHA-256 over everything that decides the raw logits of a bag of pixels.

    Covers the encoder spec (its weights' digest included), the head's architecture, configuration and weights, and the
    mask scheme; not the temperature or the references, which are fitted on posteriors that this digest keys.

    Args:
        spec: the encoder.
        head_config: the head's widths and dropout rates.
        head_digest: SHA-256 of the head's weights.
    """
    return digest_json(
        {
            "encoder": spec.digest,
            "head": "gated_attention/1",
            "head_config": to_plain(head_config),
            "head_weights": head_digest,
            "mask_scheme": MASK_SCHEME,
        }
    )
