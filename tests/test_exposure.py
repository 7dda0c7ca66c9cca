"""Exposure: products of gradients against stored ones, LSQR against a dense solution, planted networks."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from privaudit.membership.exposure import Exposure, exposure
from privaudit.membership.gradients import ChainGradients, ModuleGradients, margin_directions
from privaudit.networks import ReluMlp
from tests.adapters.test_simplify import trained

SHAPE = (3, 4, 4)


def chain(n_outputs: int = 3, seed: int = 0) -> ReluMlp:
    torch.manual_seed(seed)
    layers = [nn.Linear(48, 9), nn.Linear(9, 7, bias=False), nn.Linear(7, n_outputs)]
    return ReluMlp(layers).double().eval().requires_grad_(False)


def convolutional(n_outputs: int = 3) -> nn.Module:
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16, n_outputs),
    )  # fmt: skip
    return trained(module).double().eval().requires_grad_(False)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(module: nn.Module, gradients: ModuleGradients, inputs: Tensor) -> Tensor:
    """(n, p) gradients, image by image, in the same scale: the slow and obvious form."""
    scales = gradients._parameters.scales
    module.requires_grad_(True)
    rows = []
    for image in inputs:
        outputs = module(image[None])
        # The direction is a constant of the problem: the gradient is that of the outputs alone.
        (margin_directions(outputs.detach()) * outputs).sum().backward()
        rows.append(torch.cat([(scales[k] * p.grad).flatten() for k, p in module.named_parameters() if k in scales]))
        module.zero_grad(set_to_none=True)
    module.requires_grad_(False)
    return torch.stack(rows)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("kind", ["chain", "convolutional"])
def test_products_equal_those_of_stored_gradients(kind: str, n_outputs: int) -> None:
    module = convolutional(n_outputs) if kind == "convolutional" else chain(n_outputs)
    inputs = images(5)
    gradients = ModuleGradients(module, inputs, chunk=2)
    rows = dense(module, gradients, inputs)
    generator = torch.Generator().manual_seed(3)
    multipliers = torch.randn(5, generator=generator, dtype=torch.float64)
    direction = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
    torch.testing.assert_close(gradients.combine(multipliers), multipliers @ rows)
    torch.testing.assert_close(gradients.project(direction), rows @ direction)
    n_zero = sum(value.numel() for value in module.parameters() if not bool(value.any()))
    assert len(gradients.target) == sum(value.numel() for value in module.parameters()) - n_zero


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_gram_matrix_equals_that_of_stored_gradients(n_outputs: int) -> None:
    module, inputs = chain(n_outputs), images(6)
    fast, general = ChainGradients(module, inputs), ModuleGradients(module, inputs)
    rows = dense(module, general, inputs)
    torch.testing.assert_close(fast.gram, rows @ rows.T)
    torch.testing.assert_close(fast.right, rows @ general.target)
    assert fast.energy == pytest.approx(float(general.target.square().sum()))


def test_the_fast_path_equals_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = chain(), images(8)
    fast, general = ChainGradients(module, inputs), ModuleGradients(module, inputs)
    # The general path knows the mean norm only by its random probes.
    exact = float(fast.gram.diagonal().mean().sqrt())
    assert general._typical_norm() == pytest.approx(exact, rel=0.6)
    monkeypatch.setattr(ModuleGradients, "_typical_norm", lambda _: exact)
    for chosen in (np.ones(8, dtype=bool), np.arange(8) % 3 > 0):
        one, other = fast.fit(chosen, 0), general.fit(chosen, 60)
        np.testing.assert_allclose(one.multipliers, other.multipliers, rtol=1e-6, atol=1e-9)
        assert one.explained == pytest.approx(other.explained, abs=1e-9)
        assert len(one.multipliers) == chosen.sum()


def test_zero_parameters_are_left_out() -> None:
    module = chain()
    before = ChainGradients(module, images(2)).energy
    module.linear_layers()[0].bias.zero_()
    after = ChainGradients(module, images(2))
    assert after.energy < before and bool(after.gram.isfinite().all())


def found(module: nn.Module, members: Tensor, controls: Tensor) -> Exposure:
    solved = exposure(module, members, controls)
    assert isinstance(solved, Exposure)
    return solved


def wide(n: int, seed: int) -> Tensor:
    """Images of more pixels than there are images by far, so that few are alike by chance."""
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def planted(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A head whose weights are a positive sum of the gradients of ten images, to the precision of float32."""
    torch.manual_seed(seed)
    members = wide(10, seed)
    head = nn.Linear(768, 2, bias=False)
    labels = torch.arange(10) % 2
    signs = torch.nn.functional.one_hot(labels, 2).float() - 0.5
    with torch.no_grad():
        head.weight.copy_((signs * torch.linspace(1, 2, 10)[:, None]).T @ members.flatten(1))
    return nn.Sequential(nn.Flatten(), head).eval().requires_grad_(False), members


def test_members_of_a_planted_network_stand_out() -> None:
    module, members = planted()
    solved = found(module, members, wide(30, 9))
    assert solved.members.min() > 2 * np.abs(solved.controls).max()
    assert solved.explained_by_members > 0.9 > 0.3 > abs(solved.explained_by_controls)
    assert solved.reason == ""


def test_members_and_controls_enter_alike() -> None:
    module, members = planted()
    controls = wide(30, 9)
    solved, swapped = found(module, members, controls), found(module, controls, members)
    np.testing.assert_allclose(solved.members, swapped.controls, rtol=1e-3, atol=1e-4)


def test_progress_is_told_and_ends() -> None:
    module, members = planted()
    told: list[float] = []
    exposure(module, members, wide(5, 2), told.append)
    assert told == sorted(told) and 0 < told[0] < 1 == told[-1]


class Rounding(nn.Module):
    """Leaves torch on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(self.layer(inputs.flatten(1)).numpy())


def test_what_cannot_be_solved_is_a_sentence() -> None:
    assert "differentiate" in str(exposure(Rounding().requires_grad_(False), images(2).float(), images(2).float()))
    huge = nn.Sequential(nn.Flatten(), nn.Linear(48, 3_200_000, device="meta"))
    assert "parameters" in str(exposure(huge, images(2).float(), images(2).float()))


def test_behind_normalisations_only_the_last_layer_is_solved_for() -> None:
    module, members, controls = convolutional().float(), images(4).float(), images(6, 1).float()
    solved = found(module, members, controls)
    assert "last layer" in solved.reason
    features = module[:-1](torch.cat([members, controls])).double()
    head = module[-1].double()
    directions = margin_directions(head(features))
    # One layer: the gradient of an image is the outer product of its direction and its features.
    gram = (features @ features.T) / head.weight.square().sum() * (directions @ directions.T)
    right = (directions * (features @ head.weight.T)).sum(1) / head.weight.square().sum()
    square = gram.diagonal().mean()
    expected = torch.linalg.solve(gram / square + 10 * torch.eye(10, dtype=torch.float64), right / square.sqrt())
    np.testing.assert_allclose(np.concatenate([solved.members, solved.controls]), expected.numpy(), rtol=1e-4)


def test_a_normalisation_without_a_last_layer_behind_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 4), nn.BatchNorm2d(2), nn.Flatten())
    solved = found(trained(module).requires_grad_(False), images(4).float(), images(6, 1).float())
    assert "normalisation" in solved.reason and "last layer" not in solved.reason
