"""Slides for benchmarks: as many bits a pixel as real ones, and as many pixels."""

import os

import numpy as np

from pellucid.cohort.synthetic import large
from pellucid.cohort.synthetic.tiff import ScanHeader, write_scan

QUALITY = 88


def write_dense_slide(path, width, height, *, seed=0, mpp=0.25, tissue_share=0.6, noise=5.0):
    """`write_large_slide` with sensor noise of this standard deviation: without it a pixel takes too few bits."""
    picture = large._pattern(seed, mpp)
    noisy = picture + np.random.default_rng(seed).normal(0.0, noise, picture.shape)
    picture = np.clip(noisy, 0, 255).astype(np.uint8)
    levels = [large._level(picture, width, height, factor, QUALITY, tissue_share) for factor in large._DOWNSAMPLES]
    header = ScanHeader(title="dense", scanner="SYN-A", mpp=mpp, objective=10.0 / mpp, quality=QUALITY)
    write_scan(path, levels, large._thumbnail(picture, width, height, tissue_share), header)
    return path


def write_slides(folder, number, side, **how):
    """So many slides; beyond the second they are other names of the first two, and read as any other."""
    drawn = [write_dense_slide(folder / f"{seed}.svs", side, side, seed=seed, **how) for seed in range(min(2, number))]
    for nth in range(2, number):
        os.link(drawn[nth % 2], folder / f"{nth}.svs")
    return [folder / f"{nth}.svs" for nth in range(number)]
