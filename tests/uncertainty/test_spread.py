"""What the spread of the passes measures: doubt, and neither tissue area nor the number of scans."""

import numpy as np
import pytest
import torch

from heads import make_head
from pellucid.aggregators import GatedAttentionConfig
from pellucid.statistics.posterior import combine_scans, summarise
from pellucid.uncertainty import run_passes

CONFIG = GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24)
COUNTS = (1, 2, 4, 8)


def specimens(n_specimens, seed=3):
    """Bags of 8 exchangeable scans of each specimen: what they share, and each scan's own tiles."""
    rng = np.random.default_rng(seed)
    for _ in range(n_specimens):
        tissue = rng.normal(size=16)
        yield [(tissue + rng.normal(size=(60, 16))).astype(np.float16) for _ in range(max(COUNTS))]


def mean_sd_by_scans(masks_of):
    """The mean sd over the specimens by number of scans, as the passes of scan i are drawn with `masks_of(i)`."""
    head, found = make_head(CONFIG), []
    for scans in specimens(16):
        logits = [run_passes(head, bag, model=masks_of(index), n_passes=25).logits for index, bag in enumerate(scans)]
        found.append([summarise(combine_scans(logits[:k]), temperature=1.0, n_scans=k).sd_logit for k in COUNTS])
    return np.mean(found, axis=0)


def test_it_does_not_shrink_with_the_scans_of_a_specimen():
    sds = mean_sd_by_scans(lambda _: "m")
    assert (sds > 0.97 * sds[0]).all()


def test_it_would_if_each_scan_had_its_own_masks():
    sds = mean_sd_by_scans(lambda index: f"m {index}")
    assert sds[-1] < 0.45 * sds[0]


def sized_bags(count, smallest, largest, seed=0):
    rng = np.random.default_rng(seed)
    for n in np.exp(rng.uniform(np.log(smallest), np.log(largest), count)).astype(int):
        yield (rng.normal(size=16) + rng.normal(size=(n, 16))).astype(np.float16)


def correlation(bags, passes_of):
    pairs = [(passes_of(bag).std(ddof=1), len(bag) ** -0.5) for bag in bags]
    return np.corrcoef(np.array(pairs).T)[0, 1]


def test_it_does_not_measure_the_number_of_tiles():
    head = make_head(CONFIG)
    bags = sized_bags(150, 30, 3000)
    # a correlation of 0 has a standard error of 0.08 over 150 bags; the slow test below is the sharper one
    assert abs(correlation(bags, lambda bag: run_passes(head, bag, model="m", n_passes=20).logits)) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("trunk_dropout", [0.25, 0.0])
def test_it_does_not_measure_the_number_of_tiles_over_a_thousand_bags(trunk_dropout):
    head = make_head(GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24, trunk_dropout=trunk_dropout))
    bags = sized_bags(1000, 30, 3000)
    assert abs(correlation(bags, lambda bag: run_passes(head, bag, model="m", n_passes=20).logits)) < 0.1


def test_it_would_if_each_tile_had_its_own_masks():
    head = make_head(CONFIG).train()

    def passes(bag):
        tiles = torch.from_numpy(bag).float()
        with torch.inference_mode():
            return np.array([without_head_dropout(head, tiles) for _ in range(20)])

    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert correlation(sized_bags(100, 30, 1000), passes) > 0.4


def without_head_dropout(head, tiles):
    # on the pooled vector there is one mask a pass anyway, which hides what the others do
    head.dropout["head"].eval()
    return head(tiles).logit.item()
