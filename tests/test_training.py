from dataclasses import replace

import pytest
import torch

from privaudit.planted import one_thread
from privaudit.training import TrainingSettings, train, untrained_tensors


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def problem(loss="cross_entropy", n=6, **changes):
    inputs = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(n) % 3 if loss == "cross_entropy" else torch.linspace(-1, 1, n)
    settings = {"widths": (16, 24, 24, 3 if loss == "cross_entropy" else 1), "loss": loss, "weight_decay": 1e-2}
    return inputs, targets, TrainingSettings(**{**settings, "max_steps": 300, **changes})


def reference_gradient(tensors, inputs, targets, loss, weight_decay):
    """Of the regularised loss, in float64, from the formula."""
    w0, b, w1, w2 = (
        tensors[k].double().requires_grad_()
        for k in ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.2.weight")
    )
    hidden = torch.relu(inputs.flatten(1).double() @ w0.T + b)
    outputs = torch.relu(hidden @ w1.T) @ w2.T
    if loss == "mse":
        fit = ((outputs[:, 0] - targets) ** 2).mean()
    else:
        fit = -torch.log_softmax(outputs, 1)[torch.arange(len(inputs)), targets].mean()
    whole = fit + weight_decay / 2 * sum((p**2).sum() for p in (w0, b, w1, w2))
    gradients = torch.autograd.grad(whole, (w0, b, w1, w2))
    norm = torch.cat([p.detach().flatten() for p in (w0, b, w1, w2)]).norm()
    return float(torch.cat([g.flatten() for g in gradients]).norm() / (weight_decay * norm)), float(fit.detach())


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_ends_near_a_stationary_point_and_says_how_near(loss):
    inputs, targets, settings = problem(loss)
    trained = train(inputs, targets, settings)
    residual, fit = reference_gradient(trained.tensors, inputs, targets, loss, settings.weight_decay)
    start, start_fit = reference_gradient(untrained_tensors(settings), inputs, targets, loss, settings.weight_decay)
    assert trained.residual == pytest.approx(residual, rel=1e-2, abs=1e-4)
    assert trained.loss == pytest.approx(fit, rel=1e-4)
    assert residual < 0.3 and residual < 0.3 * start
    assert fit < start_fit


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    inputs, targets, settings = problem(max_steps=60)
    first, second = (train(inputs, targets, settings).tensors for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(99)
    assert torch.equal(untrained_tensors(settings)["layers.0.weight"], untrained_tensors(settings)["layers.0.weight"])
    other = untrained_tensors(problem(seed=1)[2])
    assert not torch.equal(untrained_tensors(settings)["layers.0.weight"], other["layers.0.weight"])


def test_the_start_is_the_default_with_one_bias():
    tensors = untrained_tensors(problem()[2])
    assert list(tensors) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.2.weight"]
    assert [tuple(tensor.shape) for tensor in tensors.values()] == [(24, 16), (24,), (24, 24), (3, 24)]
    for name, bound in (("layers.0.weight", 16**-0.5), ("layers.1.weight", 24**-0.5)):
        assert 0.8 * bound < float(tensors[name].abs().max()) <= bound


def test_stops_at_the_tolerance_and_tells_progress():
    inputs, targets, settings = problem(tolerance=1e9)
    told = []
    trained = train(inputs, targets, settings, lambda *report: told.append(report))
    assert trained.steps == 20
    assert told == [(20 / 300, trained.loss, trained.residual)]


def test_training_goes_on_from_given_tensors_and_leaves_them_alone():
    inputs, targets, settings = problem(max_steps=40)
    first = train(inputs, targets, settings)
    kept = {name: value.clone() for name, value in first.tensors.items()}
    more = train(inputs, targets, replace(settings, max_steps=200, seed=9), initial=first.tensors)
    decay = settings.weight_decay / 2
    before, after = (x.loss + decay * sum(float((v**2).sum()) for v in x.tensors.values()) for x in (first, more))
    assert after < before
    assert all(torch.equal(first.tensors[name], kept[name]) for name in kept)
