"""Networks that adapters build from weights: ReLU MLPs and chains of convolutions. Knows neither files nor names.

Shapes: inputs (N, C, H, W), outputs (N, K). Modules are float32, in evaluation mode and want no gradients for weights.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


class ReluMlp(nn.Module):
    """Linear layers with ReLU between them and none after the last.

    Attributes:
        layers: `nn.Linear` in the order of the forward pass; each may lack a bias.
    """

    layers: nn.ModuleList

    def __init__(self, layers: Iterable[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def linear_layers(self) -> list[nn.Linear]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) or (N, D) to (N, K)."""
        hidden = inputs.flatten(1)
        for index, layer in enumerate(self.layers):
            hidden = layer(torch.relu(hidden) if index else hidden)
        return hidden


def linear_layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer with copies of `weight` (out, in) and `bias` (out,), float32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    _fill(layer, weight, bias)
    return layer


def conv_layer(weight: Tensor, bias: Tensor | None, *, stride: int, padding: tuple[int, int]) -> nn.Conv2d:
    """A layer with copies of `weight` (out, in, height, width) and `bias` (out,), float32."""
    n_out, n_in, height, width = weight.shape
    layer = nn.Conv2d(
        n_in, n_out, (height, width), stride=stride, padding=padding, bias=bias is not None, device="meta"
    )
    _fill(layer, weight, bias)
    return layer


def _fill(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    # Copied, so that nothing done to the module reaches the checkpoint's own tensors.
    layer.weight = nn.Parameter(weight.detach().to(torch.float32, copy=True).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().to(torch.float32, copy=True).contiguous())


def conv_chain(
    convolutions: Sequence[nn.Conv2d],
    pools: Sequence[nn.Module | None],
    linear: Sequence[nn.Linear],
    normalisations: Sequence[nn.Module | None],
) -> nn.Sequential:
    """Convolutions and linear layers, a flattening between, ReLU behind every layer but the last.

    Args:
        convolutions: in the order of the forward pass.
        pools: what follows each convolution's ReLU; None: nothing.
        linear: the layers behind them.
        normalisations: what stands between each layer, convolutions first, and its ReLU; None: nothing.
    """
    modules: list[nn.Module] = []
    behind = iter(normalisations)
    for convolution, pool in zip(convolutions, pools, strict=True):
        modules += [*_normalised(convolution, next(behind)), nn.ReLU()] + ([] if pool is None else [pool])
    modules.append(nn.Flatten())
    for layer in linear:
        modules += [*_normalised(layer, next(behind)), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _normalised(layer: nn.Module, normalisation: nn.Module | None) -> list[nn.Module]:
    return [layer] if normalisation is None else [layer, normalisation]


def frozen(module: nn.Module) -> nn.Module:
    """The module in float32 and evaluation mode, without gradients for its parameters."""
    return module.float().eval().requires_grad_(False)


def mlp_features(network: ReluMlp, index: int, first_weight: Tensor) -> Callable[[Tensor], Tensor]:
    """What enters layer `index` (at least 1) as a function of points on which the first layer acts by `first_weight`.

    Args:
        network: its first layer's bias and the layers between are used as they are.
        index: of the layer whose features are wanted.
        first_weight: (width, rank), the first layer in the coordinates of a span.

    Returns:
        A function from (N, rank) to (N, n_in of that layer).
    """
    first, *between = network.linear_layers()[:index]

    def features(points: Tensor) -> Tensor:
        hidden = nn.functional.linear(points, first_weight, first.bias).relu()
        for layer in between:
            hidden = nn.functional.linear(hidden, layer.weight, layer.bias).relu()
        return hidden

    return features
