"""Directions and sizes of multipliers against the derivative of the loss by automatic differentiation."""

import pytest
import torch

from privaudit.objectives.loss_ties import LOSS_TIES

N, K = 7, 4
LOSSES = {
    "cross_entropy": lambda out, y: torch.nn.functional.cross_entropy(out, y, reduction="sum"),
    "logistic": lambda out, y: torch.nn.functional.softplus(-(2 * y - 1) * out[:, 0]).sum(),
    "squared": lambda out, y: ((out[:, 0] - (2 * y - 1)) ** 2).sum(),
}


def outputs_and_labels(name: str):
    generator = torch.Generator().manual_seed(0)
    n_outputs = K if name == "cross_entropy" else 1
    labels = torch.randint(0, max(n_outputs, 2), (N,), generator=generator)
    outputs = torch.randn(N, n_outputs, generator=generator, dtype=torch.float64)
    if name == "squared":  # short of the label, as weight decay leaves it; beyond it the tie has a floor
        outputs = 0.6 * (2 * labels[:, None].double() - 1) * torch.rand(N, 1, generator=generator).double()
    return outputs, labels


@pytest.mark.parametrize("name", LOSS_TIES)
def test_multipliers_are_the_negative_derivative_of_the_loss(name):
    outputs, labels = outputs_and_labels(name)
    outputs.requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](outputs, labels), outputs)
    tie = LOSS_TIES[name]
    size = (tie.log_size(outputs, labels) + tie.log_factor).exp()
    # The floor of the squared loss is a softplus of sharpness 20: at most 1e-4 off where the label is 0.4 away.
    tolerance = 1e-4 if name == "squared" else 1e-12
    torch.testing.assert_close(size[:, None] * tie.direction(outputs, labels), -gradient, atol=tolerance, rtol=1e-3)


@pytest.mark.parametrize("name", LOSS_TIES)
def test_the_label_of_a_multiplier_is_its_own(name):
    outputs, labels = outputs_and_labels(name)
    tie = LOSS_TIES[name]
    assert torch.equal(tie.label(tie.direction(outputs, labels)), labels)


def test_a_squared_loss_past_its_label_stays_finite():
    tie = LOSS_TIES["squared"]
    sizes = tie.log_size(torch.tensor([[50.0]]), torch.tensor([1]))
    assert sizes.isfinite().all()
