"""Prov-GigaPath's LongNet slide encoder: tile embeddings and their places in, one slide embedding out.

Written in plain PyTorch for the published weights (Xu et al., Nature 2024), whose names and shapes it keeps; it needs
neither flash-attn nor fairscale. Dropout and stochastic depth of the original's training are left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.aggregators.bags import check_bag_shape
from pellucid.aggregators.longnet_attention import dilated_attention
from pellucid.aggregators.longnet_config import GIGAPATH_SLIDE, LongNetConfig
from pellucid.aggregators.longnet_positions import checked_coords, grid_positions, position_vectors, row_major


class LongNetSlideEncoder(nn.Module):
    """A transformer over the tiles of one slide with dilated attention.

    Args:
        config: widths, depth and branches.
        seed: seed of the initial weights; torch's global generator is not touched.
        device: where the weights are made; on "meta" they have shapes only.
    """

    def __init__(self, config: LongNetConfig = GIGAPATH_SLIDE, *, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.config = config
        # by way of the meta device, as the layers would draw their first weights from the global generator
        with torch.device("meta"):
            self.cls_token = nn.Parameter(torch.empty(1, 1, config.dim))
            self.patch_embed = _TileProjection(config)
            self.encoder = _Encoder(config)
            self.norm = nn.LayerNorm(config.dim, eps=config.outer_eps)
        if device != "meta":
            self.to_empty(device=device)
            self.reset_parameters(seed)

    def reset_parameters(self, seed: int) -> None:
        """Draw the weights anew from `seed`: Xavier-uniform, zero bias; class token normal with deviation 0.02."""
        generator = torch.Generator(device=self.cls_token.device).manual_seed(seed)
        nn.init.normal_(self.cls_token, std=0.02, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def forward(self, features: Tensor, coords: Tensor) -> Tensor:
        """Embed one slide: the mean over its tiles, normalised; the order of the tiles makes no difference.

        Args:
            features: `(n_tiles, input_dim)`, in the precision of the weights.
            coords: `(n_tiles, 2)`, upper left corners (x, y) in pixels at `config.mpp`, see `rescaled_coords`.

        Returns:
            `(dim,)`.

        Raises:
            BagEmpty: no tile.
            BagShapeMismatch: features are not `(n_tiles, input_dim)`.
            TileCoordinatesUnfit: coordinates of another shape, of too coarse a type, or outside of the table.
        """
        tokens = self._tokens(features, coords)
        for layer in self.encoder.layers:
            tokens = layer(tokens)
        return self._pooled(self.encoder.layer_norm(tokens))

    def layer_embeddings(self, features: Tensor, coords: Tensor) -> Tensor:
        """Slide embeddings before the first layer and after each, `(depth + 1, dim)`.

        As in the published code these skip the encoder's closing layer norm, so the last row is not `forward`'s result.

        Args:
            features: as for `forward`.
            coords: as for `forward`.

        Raises:
            BagEmpty: no tile.
            BagShapeMismatch: features are not `(n_tiles, input_dim)`.
            TileCoordinatesUnfit: coordinates of another shape, of too coarse a type, or outside of the table.
        """
        tokens = self._tokens(features, coords)
        rows = [self._pooled(tokens)]
        for layer in self.encoder.layers:
            tokens = layer(tokens)
            rows.append(self._pooled(tokens))
        return torch.stack(rows)

    def _tokens(self, features: Tensor, coords: Tensor) -> Tensor:
        """Class token, then the tiles by row: `(n_tiles + 1, dim)`."""
        check_bag_shape(tuple(features.shape), self.config.input_dim)
        corners = checked_coords(coords, len(features))
        order = row_major(corners)
        cells = grid_positions(corners, self.config)[order]
        tiles = self.patch_embed.proj(features[torch.from_numpy(order).to(features.device)])
        positions = torch.from_numpy(position_vectors(cells, self.config.dim)).to(tiles)
        return torch.cat([self.cls_token[0], tiles + positions])

    def _pooled(self, tokens: Tensor) -> Tensor:
        # pre-training never reached the class token, so it is no summary of the slide
        pooled: Tensor = self.norm(tokens[1:].mean(dim=0))
        return pooled


class _TileProjection(nn.Module):
    def __init__(self, config: LongNetConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.input_dim, config.dim)


class _Encoder(nn.Module):
    def __init__(self, config: LongNetConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config.depth)])
        self.layer_norm = nn.LayerNorm(config.dim, eps=config.inner_eps)


class _Layer(nn.Module):
    """A pre-norm layer with one more norm inside of each half (Wang et al., Foundation Transformers, 2022)."""

    def __init__(self, config: LongNetConfig) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim, eps=config.inner_eps)
        self.ffn = _FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.dim, eps=config.inner_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens))
        widened: Tensor = tokens + self.ffn(self.final_layer_norm(tokens))
        return widened


class _SelfAttention(nn.Module):
    def __init__(self, config: LongNetConfig) -> None:
        super().__init__()
        self.config = config
        self.k_proj = nn.Linear(config.dim, config.dim)
        self.v_proj = nn.Linear(config.dim, config.dim)
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)
        self.inner_attn_ln = nn.LayerNorm(config.dim, eps=config.inner_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        split = (self.config.heads, -1)
        q, k, v = (project(tokens).unflatten(1, split) for project in (self.q_proj, self.k_proj, self.v_proj))
        mixed = dilated_attention(q, k, v, self.config.segments, self.config.ratios)
        out: Tensor = self.out_proj(self.inner_attn_ln(mixed.flatten(1)))
        return out


class _FeedForward(nn.Module):
    def __init__(self, config: LongNetConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.ffn_layernorm = nn.LayerNorm(config.ffn_dim, eps=config.inner_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(tokens))))
        return out
