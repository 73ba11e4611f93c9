"""A compact convolutional tile encoder for the demonstration: about 40 million multiply-adds a tile."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_VARIANCE_FLOOR = 1e-6
_STEM, _MIDDLE, _LAST = 24, 48, 96


class SmallEncoder(nn.Module):
    """Strided convolutions to a 14 x 14 map, then the mean and standard deviation of each channel over it.

    The standard deviation says how uneven a tile is, which a mean alone would lose. Batch normalisation uses
    its running statistics in evaluation mode, so a tile's embedding doesn't depend on its neighbours.

    Args:
        seed: seed of the initial weights (He-normal); torch's global generator is not touched.
    """

    dim: int = 2 * _LAST

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.stem = _convolution(3, _STEM, kernel=6, stride=4, padding=1)
        self.middle = _convolution(_STEM, _MIDDLE, kernel=3, stride=2, padding=1)
        self.last = _convolution(_MIDDLE, _LAST, kernel=3, stride=2, padding=1)
        self.residual = _convolution(_LAST, _LAST, kernel=3, stride=1, padding=1)
        self.standardise = nn.BatchNorm1d(self.dim, affine=False)
        self.reset_parameters(seed)

    def reset_parameters(self, seed: int) -> None:
        """Draw the weights anew from `seed`."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)

    def forward(self, tiles: Tensor) -> Tensor:
        """Embed normalised tiles.

        Args:
            tiles: `(b, 3, 224, 224) float32`, normalised by the spec's mean and std.

        Returns:
            `(b, 192) float32`, standardised: 96 channel means, then 96 channel standard deviations.
        """
        features = self.last(self.middle(self.stem(tiles)))
        features = features + self.residual(features)
        variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
        pooled: Tensor = self.standardise(torch.cat([mean, torch.sqrt(variance + _VARIANCE_FLOOR)], dim=1))
        return pooled

    def fold(self) -> None:
        """Fold each batch normalisation into its convolution, for evaluation only: less memory to move a tile."""
        for name in ("stem", "middle", "last", "residual"):
            convolution, normalisation, activation = getattr(self, name)
            setattr(self, name, nn.Sequential(fuse_conv_bn_eval(convolution, normalisation), activation))


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int, padding: int) -> nn.Sequential:
    # by way of the meta device, as nn.Conv2d would draw its first weights from the global generator
    empty = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False, device="meta")
    convolution = empty.to_empty(device="cpu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
