"""Cores, storage and memory that accelerators need to be kept busy, and what they do with less."""

from dataclasses import dataclass

from pellucid.planning.figures import Rates

# As the engine has it: a reader with two open scans, and the processes that hold models, with the slots of tiles.
_READER_GB, _MODELS_GB = 0.3, 8.0
_OTHER_CORES = 1.0
_LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a site has for all accelerators together: cores, and MB/s (10^6 bytes) of storage; None is enough."""

    cores: float | None = None
    storage_mb_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What keeps all accelerators busy at once: cores, MB/s (10^6 bytes) from storage, and GB of memory."""

    cores: float
    storage_mb_per_s: float
    memory_gb: float


def effective_rate(rates: Rates, n_gpus: int, limits: Limits, slides_per_s: float) -> tuple[float, str]:
    """Tiles/s of each of `n_gpus` accelerators that all work, and what bounds it; arriving slides are hashed beside."""
    bounds = [(rates.tiles_per_s.value, "the accelerator")]
    hashing_mb = slides_per_s * rates.mb_per_slide.value
    if limits.cores is not None:
        spoken_for = n_gpus * _OTHER_CORES + hashing_mb / rates.hash_mb_per_s.value
        reading = max(_LEAST_SHARE * limits.cores, limits.cores - spoken_for)
        bounds.append((reading / n_gpus / rates.read_core_s.value, "the cores"))
    if limits.storage_mb_per_s is not None:
        reading = max(_LEAST_SHARE * limits.storage_mb_per_s, limits.storage_mb_per_s - hashing_mb)
        bounds.append((reading / n_gpus / rates.mb_per_tile.value, "storage"))
    return min(bounds)


def needs_of(rates: Rates, n_gpus: int, tile_rate: float, slides_per_s: float) -> Needs:
    """What `n_gpus` accelerators need at `tile_rate` tiles/s each, with `slides_per_s` arriving at the same time."""
    n_tiles = n_gpus * tile_rate
    reading = n_tiles * rates.read_core_s.value
    hashing = slides_per_s * rates.mb_per_slide.value
    return Needs(
        cores=reading + hashing / rates.hash_mb_per_s.value + n_gpus * _OTHER_CORES,
        storage_mb_per_s=n_tiles * rates.mb_per_tile.value + hashing,
        memory_gb=n_gpus * _MODELS_GB + max(n_gpus, reading) * _READER_GB,
    )
