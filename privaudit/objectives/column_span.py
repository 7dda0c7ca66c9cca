"""Whether the gates of a candidate fit the column space of the first layer: a judge of single images.

`W1 = Σ a_i x_iᵀ` with `a_i` the signal that image i sends back to the first layer, so every `a_i` lies in the column
space of W1. The signal of a wrong image does not, where pre-activations on the kink are allowed their free derivative:
without it true images fit no better than others, because training pushes their pre-activations onto the kink (METHOD
3). Found while searching, used to rank: minimised over an image it has false optima as low as the truth
(benchmarks/RESULTS.md). Must not know training images.
"""

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.objectives.loss_ties import LOSS_TIES

_BAND = 0.02  # half-width of the kink beside a typical pre-activation; from 0.01 to 0.05 members stand out alike
_BLOCK = 512


class ColumnSpan:
    """Share of a candidate's back-signal outside the column space of the first layer."""

    def __init__(self, network: ReluMlp, rank: int, strangers: Tensor) -> None:
        """Prepare the projection.

        Args:
            network: two layers or more; its first sees the flattened inputs.
            rank: signal directions of the first layer.
            strangers: (N, C, H, W) unoptimised images of the search space: the scale of pre-activations and shares.
        """
        layers = network.linear_layers()
        self._weights = [layer.weight.detach() for layer in layers]
        self._biases = [layer.bias.detach() if layer.bias is not None else None for layer in layers]
        self._columns = torch.linalg.svd(self._weights[0], full_matrices=False)[0][:, :rank].contiguous()
        self._band = [0.0] * len(layers)
        with torch.no_grad():
            hidden = strangers.flatten(1).to(self._columns)
            for index, layer in enumerate(layers):
                self._band[index] = _BAND * float(layer(hidden).abs().median())
                hidden = layer(hidden).relu()
        self._typical = max(float(self.outside(strangers).median()), 1e-12)

    def outside(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) network inputs to (N,) shares in [0, 1]; training images have the smallest."""
        with torch.no_grad():
            blocks = [self._outside(block.flatten(1).to(self._columns)) for block in torch.split(inputs, _BLOCK)]
        return torch.cat(blocks)

    def confidence(self, inputs: Tensor) -> Tensor:
        """(N,) in [0, 1]: 0 at the median share of strangers, 1 where nothing lies outside."""
        return (1 - self.outside(inputs) / self._typical).clamp(0, 1)

    def _outside(self, hidden: Tensor) -> Tensor:
        derivatives = []
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            pre = torch.nn.functional.linear(hidden, weight, bias)
            if index + 1 < len(self._weights):
                # On the kink any derivative is allowed; its middle stands for all.
                derivatives.append((0.5 + 0.5 * pre / self._band[index]).clamp(0, 1))
                hidden = pre.relu()
        signal = _output_signal(pre)
        for weight, derivative in zip(self._weights[:0:-1], derivatives[::-1], strict=True):
            signal = (signal @ weight) * derivative
        inside: Tensor = ((signal @ self._columns) ** 2).sum(1) / (signal**2).sum(1).clamp_min(1e-30)
        return (1 - inside).clamp(0, 1)


def _output_signal(outputs: Tensor) -> Tensor:
    """(N, K): the direction of the multipliers for the label the outputs name; of one output 1, signs do not matter."""
    if outputs.shape[1] == 1:
        return torch.ones_like(outputs)
    softmax = LOSS_TIES["cross_entropy"]
    return softmax.direction(outputs, softmax.label(outputs))
