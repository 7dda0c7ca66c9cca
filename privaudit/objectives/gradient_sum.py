"""The weighted sum of per-image gradients of a ReLU MLP, against the weights, in the coordinates of a search space.

With back-signals `B_l` (candidates × width, gated by the ReLU derivatives and scaled by the multipliers) and
activations `H_l`, the sum of gradients at layer l is `B_lᵀ H_l` (METHOD 1). Nothing of size candidates × parameters is
built, no second backward pass runs, and three identities make a step cheap:

* inputs live in the span of the first layer, so `d` becomes the rank of that span (METHOD 3c);
* trained middle layers have low rank (10–100 of 1,000 for 50 images), so they are applied as two thin factors;
* `‖W − BᵀH‖² = ‖W‖² − 2⟨B, H Wᵀ⟩ + ⟨B Bᵀ, H Hᵀ⟩`, and `H Wᵀ` is the pre-activation that the forward pass has anyway:
  with few candidates the residual costs two Gram matrices instead of a product of the layer's size.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.spans import SearchSpace

_LOW_RANK_TAIL = 3e-6  # squared share of a layer that its low-rank form may drop; the equation itself holds to 1e-3


RelativeResiduals = list[tuple[Tensor, Tensor | None]]
"""Per layer (R,) squared residuals of weight and bias, each relative to its squared norm; None: no bias."""


@dataclass(frozen=True)
class Layer:
    """One linear layer as the step uses it.

    Attributes:
        weight: (n_out, n_in); the first layer's is in span coordinates, (n_out, rank).
        bias: (n_out,) or None.
        factors: `(P, Q)` with `P @ Q` close to `weight`, or None where thin factors would not be cheaper.
        squared_norm: of the weight; `bias_squared_norm` of the bias, infinite where it is zero: nothing to explain.
    """

    weight: Tensor
    bias: Tensor | None
    factors: tuple[Tensor, Tensor] | None
    squared_norm: float
    bias_squared_norm: float

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., n_in) to (..., n_out)."""
        factors = self.factors
        out = hidden @ self.weight.T if factors is None else (hidden @ factors[1].T) @ factors[0].T
        return out if self.bias is None else out + self.bias

    def backward(self, signal: Tensor) -> Tensor:
        """(..., n_out) to (..., n_in)."""
        if self.factors is None:
            return signal @ self.weight
        return (signal @ self.factors[0]) @ self.factors[1]


def _layer(weight: Tensor, bias: Tensor | None, max_tail: float) -> Layer:
    left, singular, right = torch.linalg.svd(weight.double(), full_matrices=False)
    tail = (singular**2).flip(0).cumsum(0).flip(0) / (singular**2).sum()
    rank = int((tail > max_tail).sum())
    n_out, n_in = weight.shape
    factors = None
    if rank * (n_out + n_in) < 0.8 * n_out * n_in:
        root = singular[:rank].sqrt()
        factors = (
            (left[:, :rank] * root).to(weight).contiguous(),
            (root[:, None] * right[:rank]).to(weight).contiguous(),
        )
    bias_norm = math.inf if bias is None else float((bias**2).sum()) or math.inf
    return Layer(weight, bias, factors, float((weight**2).sum()) or math.inf, bias_norm)


@dataclass(frozen=True)
class Pass:
    """A forward pass: `hidden[l]` enters layer l, `pre[l]` leaves it; `pre[-1]` are the outputs (R, m, K)."""

    hidden: list[Tensor]
    pre: list[Tensor]


def squared_residual(weight: Tensor, squared_norm: float, hidden: Tensor, product: Tensor, signal: Tensor) -> Tensor:
    """(R,) `‖W − BᵀH‖²`, by Gram matrices where that is cheaper than a matrix of the layer's size.

    Args:
        weight: W, (n_out, n_in); `squared_norm` its own.
        hidden: H, (R, m, n_in); `product`: `H Wᵀ`, (R, m, n_out).
        signal: B, (R, m, n_out).
    """
    n_out, n_in = weight.shape
    if hidden.shape[-2] * (n_out + n_in) < n_out * n_in:
        gram = (signal @ signal.mT) * (hidden @ hidden.mT)
        squared: Tensor = squared_norm - 2 * (signal * product).sum((-1, -2)) + gram.sum((-1, -2))
        return squared
    return ((weight - signal.mT @ hidden) ** 2).sum((-1, -2))


class ReluMlpSum:
    """The equation `θ = Σ c_ik ∇Φ_k(x_i)` for a ReLU MLP.

    Attributes:
        layers: in the order of the forward pass, the first in span coordinates.
        importance: weight of each layer's relative residual in the loss. At a stationary point of a homogeneous network
            every layer's explained energy is the same, so a layer can be explained at most to `min ‖W‖² / ‖W_l‖²`; one
            that kept a large random initialisation gets that small weight.
        bias_importance: of a bias's relative residual, times its layer's importance (METHOD 3).
    """

    def __init__(
        self,
        network: ReluMlp,
        space: SearchSpace,
        dtype: torch.dtype,
        bias_importance: float = 0.1,
        tail: float = _LOW_RANK_TAIL,
    ) -> None:
        """Prepare the layers.

        Args:
            network: its first layer sees the flattened inputs.
            space: search space over those inputs.
            dtype: arithmetic, float32 or float64.
            bias_importance: see above.
            tail: squared share of a layer that its thin factors may drop; 0 keeps every layer whole.
        """
        self.layers: list[Layer] = []
        for index, module in enumerate(network.linear_layers()):
            weight, bias = module.weight.detach().to(dtype), module.bias
            if index == 0 and space.decoder is not None:
                weight = weight @ space.decoder.to(weight).T
            self.layers.append(_layer(weight, None if bias is None else bias.detach().to(dtype), tail))
        smallest = min(layer.squared_norm for layer in self.layers)
        self.importance = [smallest / layer.squared_norm for layer in self.layers]
        self.bias_importance = bias_importance

    def forward(self, points: Tensor) -> Pass:
        """(R, m, rank) points of the span, in input units."""
        hidden: list[Tensor] = [points]
        pre: list[Tensor] = []
        for layer in self.layers:
            if pre:
                hidden.append(pre[-1].relu())
            pre.append(layer.forward(hidden[-1]))
        return Pass(hidden, pre)

    def back_signals(self, run: Pass, multipliers: Tensor, smoothing: float) -> list[Tensor]:
        """`B_l` of every layer, (R, m, n_out): ReLU derivatives are `sigmoid(smoothing · z)` (Haim et al. 2022)."""
        signals = [multipliers]
        for layer, pre in zip(reversed(self.layers[1:]), reversed(run.pre[:-1]), strict=True):
            signals.append(layer.backward(signals[-1]) * torch.sigmoid(smoothing * pre))
        return signals[::-1]

    def relative_residuals(self, run: Pass, signals: list[Tensor]) -> RelativeResiduals:
        """Per layer `(weight, bias)`: (R,) squared residual relative to the layer's squared norm."""
        indices = range(len(self.layers))
        return [(self.weight_residual(i, run, signals), self.bias_residual(i, signals)) for i in indices]

    def weight_residual(self, index: int, run: Pass, signals: list[Tensor]) -> Tensor:
        """(R,) of one layer's weight, relative."""
        layer, pre = self.layers[index], run.pre[index]
        product = pre if layer.bias is None else pre - layer.bias
        squared = squared_residual(layer.weight, layer.squared_norm, run.hidden[index], product, signals[index])
        return squared / layer.squared_norm

    def bias_residual(self, index: int, signals: list[Tensor]) -> Tensor | None:
        """(R,) of one layer's bias, relative; None where it has none."""
        layer = self.layers[index]
        if layer.bias is None:
            return None
        residual: Tensor = ((layer.bias - signals[index].sum(-2)) ** 2).sum(-1) / layer.bias_squared_norm
        return residual

    def loss(self, run: Pass, signals: list[Tensor]) -> Tensor:
        """(R,) weighted sum of relative residuals."""
        return self.weighted(self.relative_residuals(run, signals))

    def weighted(self, residuals: RelativeResiduals) -> Tensor:
        """(R,) from the relative residuals of every layer."""
        total = torch.zeros_like(residuals[0][0])
        for importance, (weight, bias) in zip(self.importance, residuals, strict=True):
            total = total + importance * weight
            if bias is not None:
                total = total + importance * self.bias_importance * bias
        return total

    def explained(self, run: Pass, signals: list[Tensor]) -> Tensor:
        """(R,) share of all squared weights that the sum explains, at most 1."""
        return self.explained_share(self.relative_residuals(run, signals))

    def explained_share(self, residuals: RelativeResiduals) -> Tensor:
        """(R,) from the relative residuals of every layer."""
        left = torch.stack(
            [float((x.weight**2).sum()) * weight for x, (weight, _) in zip(self.layers, residuals, strict=True)]
        )
        return 1 - left.sum(0) / sum(float((layer.weight**2).sum()) for layer in self.layers)

    def unit_multiplier(self, points: Tensor, multipliers: Tensor, smoothing: float) -> Tensor:
        """(R, 1, 1) factor that makes the first sum about as large as the weights it is to explain."""
        with torch.no_grad():
            run = self.forward(points)
            signals = self.back_signals(run, multipliers, smoothing)
            energy, weight_total = torch.zeros(len(points)).to(points), 0.0
            for importance, layer, hidden, signal in zip(
                self.importance, self.layers, run.hidden, signals, strict=True
            ):
                gram = (signal @ signal.mT) * (hidden @ hidden.mT)
                energy = energy + importance * gram.sum((-1, -2)) / layer.squared_norm
                weight_total += importance
            return (weight_total / energy.clamp_min(1e-30)).sqrt().view(-1, 1, 1)
