"""The row space of a linear layer, and a smooth coordinate system inside it.

In: an `AttackTarget`. Out: its linear layers with the features they see, where their spectrum stops being signal, and a
`SearchSpace` of candidate images. Every gradient step adds a mixture of training features to each row of a linear layer
and weight decay removes what was there before, so the features of training images lie in its row space (METHOD 3). Must
not know training images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from privaudit.adapters.interface import AttackTarget

_PIXEL_STD = 0.2  # standard deviation of natural images around their mean image (CIFAR-10: 0.23; METHOD 3c)
_NEAR_NOISE = 6.0  # of the noise edge: a cliff may end on weak leftovers of training (METHOD 3e, CNN: 4.6)
_CLIFF = 2.0  # ratio of neighbouring singular values that counts as a cliff
_EDGE_GAP = 1.25  # the same right at the edge of the noise, where neighbours of a random matrix lie within a per cent
_FAR_CLIFF = 4.0  # the same, far above the noise: what is left below it are leftovers of training, not images
_FAR_BELOW = 0.01  # of the largest singular value, where such leftovers lie; class directions lie above
TELLING_WIDTH = 32
"""Directions of a layer from which a spectrum without a signal tells that nothing was trained; a head has too few."""

_ROUGHNESS_FLOOR = 0.02  # share of the mean roughness added to every direction (METHOD 3c)


@dataclass(frozen=True)
class LinearSite:
    """A linear layer and what it sees.

    Attributes:
        name: of the module within the network.
        weight: (n_out, n_in); `bias`: (n_out,) or None.
        features: network inputs (N, C, H, W) to what enters the layer, (N, n_in); differentiable.
        sees_inputs: whether the features are the flattened inputs themselves.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    features: Callable[[Tensor], Tensor]
    sees_inputs: bool


class _Reached(Exception):
    """Unwinds the forward pass at the layer whose input is wanted: what comes after it need not be computed."""


def _feature_function(network: nn.Module, layer: nn.Module) -> Callable[[Tensor], Tensor]:
    def features(inputs: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def catch(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen.append(arguments[0])
            raise _Reached

        handle = layer.register_forward_pre_hook(catch)
        try:
            network(inputs)
        except _Reached:
            pass
        finally:
            handle.remove()
        return seen[0].flatten(1)

    return features


def linear_sites(target: AttackTarget) -> tuple[LinearSite, ...]:
    """The network's linear layers in the order of its forward pass; layers applied per token are left out."""
    network, sites, order = target.module, [], []
    probe = torch.rand(2, *target.input_shape, generator=torch.Generator().manual_seed(0)).to(
        next(network.parameters())
    )
    names = {module: name for name, module in network.named_modules() if isinstance(module, nn.Linear)}

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if arguments[0].flatten(1).shape[1] == module.in_features:
            order.append(module)

    handles = [module.register_forward_pre_hook(note) for module in names]
    try:
        target.outputs(probe)
    finally:
        for handle in handles:
            handle.remove()
    for module in order:
        assert isinstance(module, nn.Linear)
        features = _feature_function(network, module)
        with torch.no_grad():
            seen = features(probe)
        sees_inputs = seen.shape == probe.flatten(1).shape and torch.equal(seen, probe.flatten(1))
        bias = None if module.bias is None else module.bias.detach()
        sites.append(LinearSite(names[module], module.weight.detach(), bias, features, sees_inputs))
    return tuple(sites)


@dataclass(frozen=True)
class Cut:
    """Where a spectrum stops being signal.

    Attributes:
        singular_values: (k,) float64, descending.
        rank: number of directions above the noise; `low` and `high` bound it.
        cliff_ratio: singular value number `rank` over the next.
        rule: `cliff` (sharp enough to count training images), `noise_edge` (something stands above a random matrix's
            edge), `full` (no noise below the signal) or `none` (nothing above it: an untrained layer).
    """

    singular_values: np.ndarray
    rank: int
    low: int
    high: int
    cliff_ratio: float
    rule: str

    @property
    def has_cliff(self) -> bool:
        """Sharp enough to count training images by it."""
        return self.rule == "cliff"


def _marchenko_pastur_quantile(n_rows: int, n_columns: int, share: float) -> float:
    """Quantile of the singular values of an (n_rows, n_columns) matrix of unit-variance noise, `share` from below.

    Marchenko & Pastur 1967, density of the eigenvalues of the smaller Gram matrix, integrated on a grid.
    """
    small, large = sorted((n_rows, n_columns))
    low, high = large**0.5 - small**0.5, large**0.5 + small**0.5
    s = np.linspace(low, high, 2001)[1:-1]
    density = np.sqrt(np.maximum((high**2 - s**2) * (s**2 - low**2), 0)) / s
    cumulative = np.cumsum(density)
    return float(np.interp(share * cumulative[-1], cumulative, s))


def noise_deviation(singular: np.ndarray, n_rows: int, n_columns: int) -> float:
    """Standard deviation of the noise in a matrix of these singular values, from their smallest quarter.

    Too large where more than three quarters of all directions are signal.
    """
    return float(np.quantile(singular, 0.25) / _marchenko_pastur_quantile(n_rows, n_columns, 0.25))


def _noise_edge(singular: np.ndarray, n_rows: int, n_columns: int) -> float:
    """Largest singular value of the noise that explains the bulk of `singular`; signals are left out in turn."""
    rank, quantile, edge = (
        0,
        0.25,
        0.0,
    )  # the smallest quarter is noise unless three quarters of all directions are signal
    for _ in range(20):
        rest = singular[rank:]
        if len(rest) < 8:
            return 0.0
        level = np.quantile(rest, quantile) / _marchenko_pastur_quantile(n_rows - rank, n_columns - rank, quantile)
        edge = float(level * ((n_rows - rank) ** 0.5 + (n_columns - rank) ** 0.5))
        found = int((singular > edge).sum())
        if found == rank:
            break
        rank, quantile = found, 0.5
    return edge


def cut_spectrum(weight: Tensor, n_classes: int = 0) -> Cut:
    """The number of signal directions of a weight matrix (n_out, n_in), with an interval.

    Signal is what lies above the edge of the bulk that a random matrix of the observed noise level would have
    (METHOD 3c). Where the spectrum falls off a cliff close to that edge, the cliff is the better estimate: noise of
    unequal variance has a wider bulk than the random matrix. So is the last steep cliff further up: behind
    convolutions, features still move while weight decay removes what they left (benchmarks/RESULTS.md). The interval
    moves the edge by 2 % down and 10 % up.

    Args:
        weight: (n_out, n_in).
        n_classes: outputs of the network. A cliff after as many directions or fewer is where class means end, which
            features collapse to late in training (Papyan et al. 2020), and counts no images.
    """
    singular = torch.linalg.svdvals(weight.double()).cpu().numpy()
    edge = _noise_edge(singular, *weight.shape)
    rank, high, low = (int((singular > margin * edge).sum()) for margin in (1.03, 0.98, 1.1))
    if rank == 0:
        return Cut(singular, len(singular), 0, len(singular), 1.0, "none")
    below = singular[1 : rank + 1]
    ratios = singular[: len(below)] / np.maximum(below, 1e-300)
    ratios[:n_classes] = 0
    far = np.flatnonzero((ratios >= _FAR_CLIFF) & (below <= _FAR_BELOW * singular[0]))
    if rank == len(singular) and not len(far):
        return Cut(singular, rank, rank, rank, 1.0, "full")
    near = np.where(below > _NEAR_NOISE * edge, 0, ratios)
    cliff = int(far[-1]) if len(far) else int(near.argmax())
    if near[cliff] >= _CLIFF or len(far):
        return Cut(
            singular,
            cliff + 1,
            min(low, cliff + 1),
            max(cliff + 1, min(high, cliff + 2)),
            float(ratios[cliff]),
            "cliff",
        )
    gap = float(singular[rank - 1] / singular[rank])
    return Cut(singular, rank, low, high, gap, "cliff" if gap >= _EDGE_GAP and rank > n_classes else "noise_edge")


@dataclass(frozen=True)
class SearchSpace:
    """Images as `decoder` applied to coordinates that are standard normal under the image prior.

    Attributes:
        decoder: (rank, d) orthonormal rows, or None for pixel space (rank = d).
        scale: (rank,) standard deviation of every coordinate in network-input units.
        shape: (C, H, W).
        resolution: side of the coarse grid that starts are drawn on in pixel space.
    """

    decoder: Tensor | None
    scale: Tensor
    shape: tuple[int, int, int]
    resolution: int = 6

    @property
    def rank(self) -> int:
        """Number of coordinates."""
        return len(self.scale)

    def inputs(self, coordinates: Tensor) -> Tensor:
        """(..., rank) whitened coordinates to (..., C, H, W) network inputs."""
        scaled = coordinates * self.scale
        flat = scaled if self.decoder is None else scaled @ self.decoder
        return flat.reshape(*flat.shape[:-1], *self.shape)

    def coordinates(self, inputs: Tensor) -> Tensor:
        """(..., C, H, W) network inputs to (..., rank): of their part inside the space."""
        flat = inputs.flatten(-3).to(self.scale)
        return (flat if self.decoder is None else flat @ self.decoder.T) / self.scale

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, rank) coordinates of random images of the prior: starts of a search, and its placebo (METHOD 3f)."""
        if self.decoder is not None:
            return torch.randn(n, self.rank, generator=generator).to(self.scale)
        channels, height, width = self.shape
        side = min(self.resolution, height, width)
        coarse = torch.randn(n, channels, side, side, generator=generator)
        smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
        return smooth.flatten(1).to(self.scale)


def pixel_space(shape: tuple[int, int, int], std: Tensor, device: torch.device | None = None) -> SearchSpace:
    """All images; `std` (C, 1, 1) or (C, H, W) of the preprocessing turns pixel units into input units."""
    scale = (0.25 / std).expand(shape).flatten().float().to(device)
    return SearchSpace(None, scale.contiguous(), shape)


def roughness_form(decoder: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(rank, rank) quadratic form of the sum of squared neighbour differences of images `y @ decoder`."""
    grid = decoder.reshape(-1, *shape)
    across = (grid[..., 1:] - grid[..., :-1]).flatten(1)
    down = (grid[..., 1:, :] - grid[..., :-1, :]).flatten(1)
    form: Tensor = across @ across.T + down @ down.T
    return form


def smooth_span(weight: Tensor, rank: int, target: AttackTarget, std: Tensor) -> SearchSpace:
    """The first `rank` right singular directions of a first layer, in the smooth basis of METHOD 3c.

    Args:
        weight: (n_out, d) of a layer that sees the inputs.
        rank: number of directions kept.
        target: gives the input shape.
        std: of the preprocessing; pixel standard deviation 0.2 becomes 0.2 / std in input units.
    """
    span = torch.linalg.svd(weight.double(), full_matrices=False)[2][:rank]
    form = roughness_form(span, target.input_shape)
    floor = _ROUGHNESS_FLOOR * form.diagonal().mean() * torch.eye(len(span), dtype=form.dtype, device=form.device)
    roughness, basis = torch.linalg.eigh(form + floor)
    scale = roughness.rsqrt()
    n_inputs = span.shape[1]
    scale *= _PIXEL_STD / float(std.mean()) * n_inputs**0.5 / scale.norm()
    return SearchSpace((basis.T @ span).float().contiguous(), scale.float(), target.input_shape)
