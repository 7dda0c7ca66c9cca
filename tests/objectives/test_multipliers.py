"""What the variables of each equation mean."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.objectives.multipliers import MULTIPLIERS

K = 4


def started(name: str, restarts: int = 2, m: int = 9, k: int = K):
    return MULTIPLIERS[name](k), MULTIPLIERS[name](k).start(restarts, m, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_coefficients_have_one_number_an_output_and_reach_their_variable(name):
    kind, variables = started(name)
    variables["multipliers"].requires_grad_()
    outputs = torch.randn(2, 9, K, generator=torch.Generator().manual_seed(1))
    found = kind.coefficients(variables, outputs)
    assert found.shape == outputs.shape
    found.square().sum().backward()
    assert bool((variables["multipliers"].grad.norm(dim=-1) > 0).all())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_margin_is_a_label_against_its_strongest_rival(seed):
    kind, variables = started("multiclass_margin")
    outputs = torch.randn(2, 9, K, generator=torch.Generator().manual_seed(seed))
    found = kind.coefficients(variables, outputs)
    for restart in range(2):
        for i in range(9):
            label = int(variables["labels"][restart, i])
            rivals = {k: float(outputs[restart, i, k]) for k in range(K) if k != label}
            strongest = max(rivals, key=rivals.get)
            size = float(variables["multipliers"][restart, i].exp())
            expected = torch.zeros(K)
            expected[label], expected[strongest] = size, -size
            torch.testing.assert_close(found[restart, i], expected)


def test_labels_are_dealt_out_in_equal_numbers():
    variables = started("multiclass_margin", m=8)[1]
    assert torch.bincount(variables["labels"][0]).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("name", ["general_loss", "binary_margin"])
def test_put_copies_what_was_found_and_shrinks_the_rest(name):
    kind, variables = started(name)
    found = torch.randn(3, K, generator=torch.Generator().manual_seed(2))
    kind.put(variables, found)
    coefficients = kind.coefficients(variables, torch.zeros(2, 9, K))
    torch.testing.assert_close(coefficients[:, :3], found.expand(2, 3, K))
    assert 0.1 < float(coefficients[:, 3:].norm(dim=-1).median()) < 0.6


def test_put_reads_size_and_label_of_a_margin():
    kind, variables = started("multiclass_margin")
    found = torch.tensor([[-2.0, 0, 2.0, 0], [0.5, 0, 0, -0.5]])
    kind.put(variables, found)
    outputs = torch.tensor([[3.0, 1, 9, 0], [9.0, 0, 0, 3]]).expand(2, 2, K)
    variables = {name: value[:, :2] for name, value in variables.items()}
    torch.testing.assert_close(kind.coefficients(variables, outputs), found.expand(2, 2, K))


def test_binary_multipliers_take_either_sign():
    kind, variables = started("binary_margin", m=200, k=1)
    share = float((kind.coefficients(variables, torch.zeros(2, 200, 1)) > 0).float().mean())
    assert 0.35 < share < 0.65  # 400 fair coins: outside with probability below 1e-8
