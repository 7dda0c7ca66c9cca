"""The judge of single images: its share against a slow form, and what it says of members."""

import pytest
import torch
from attack_problems import SHAPE, mlp, smooth_images

from privaudit.objectives.column_span import ColumnSpan


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_share_is_that_of_the_gradient_of_the_outputs_by_autograd(n_outputs):
    network = mlp((20, 9, 7, n_outputs))
    first, *others = network.linear_layers()
    rank = 4
    columns = torch.linalg.svd(first.weight)[0][:, :rank]
    inputs = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(2))
    expected = []
    for image in inputs:
        pre = first(image.flatten()).detach().requires_grad_()
        hidden = pre
        for layer in others:
            hidden = layer(hidden.relu())
        said = hidden[0] if n_outputs == 1 else -torch.nn.functional.cross_entropy(hidden, hidden.argmax())
        (signal,) = torch.autograd.grad(said, pre)
        expected.append(1 - (columns.T @ signal).norm() ** 2 / signal.norm() ** 2)
    found = ColumnSpan(network, rank, inputs).outside(inputs)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_neuron_on_the_kink_sends_half_its_signal():
    network = mlp((20, 9, 7, 1))
    first = network.linear_layers()[0]
    with torch.no_grad():
        first.weight[0], first.bias[0] = 0.0, 0.0  # on the kink whatever the image
    inputs = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    judge = ColumnSpan(network, 9, inputs)
    judge._columns = torch.eye(9)[:, 1:]  # all that the first neuron sends lies outside
    on_kink = judge.outside(inputs)
    judge._biases[0] = first.bias.detach().clone()
    judge._biases[0][0] = 0.6 * judge._band[0]  # towards open; later layers hardly notice
    opening = judge.outside(inputs)
    odds = (opening / (1 - opening)) / (on_kink / (1 - on_kink))
    derivative = 0.5 + 0.5 * 0.6
    torch.testing.assert_close(odds, torch.full_like(odds, (derivative / 0.5) ** 2), rtol=0.02, atol=0)


def test_images_whose_signals_make_the_columns_lie_inside_and_others_do_not():
    network = mlp((64, 60, 30, 3))
    members, others = smooth_images(8, 0) - 0.5, smooth_images(40, 9) - 0.5
    judge = ColumnSpan(network, 60, others)
    first = network.linear_layers()[0]
    signals = []
    for image in members:
        pre = first(image.flatten()).detach().requires_grad_()
        outputs = network.layers[2](network.layers[1](pre.relu()).relu())
        signals.append(torch.autograd.grad(torch.nn.functional.cross_entropy(outputs, outputs.argmax()), pre)[0])
    judge._columns = torch.linalg.qr(torch.stack(signals).T)[0]
    inside, outside = judge.outside(members), judge.outside(others)
    assert float(inside.median()) < 0.1 * float(outside.median()) and float(inside.max()) < float(outside.median())
    assert float(inside.min()) >= 0 and float(outside.max()) <= 1


def test_confidence_is_none_at_a_typical_stranger_and_full_where_nothing_lies_outside():
    strangers = smooth_images(41, 9) - 0.5
    judge = ColumnSpan(mlp((64, 9, 7, 3)), 4, strangers)
    confidence = judge.confidence(strangers)
    assert int((confidence == 0).sum()) == 21  # the median itself and what lies above it
    torch.testing.assert_close(confidence, (1 - judge.outside(strangers) / judge._typical).clamp(0, 1))
    assert float(ColumnSpan(mlp((64, 9, 7, 3)), 9, strangers).outside(strangers).max()) < 1e-5


def test_many_images_are_judged_as_one_by_one():
    inputs = smooth_images(700, 0) - 0.5
    judge = ColumnSpan(mlp((64, 9, 7, 3)), 4, inputs[:50])
    torch.testing.assert_close(judge.outside(inputs)[-3:], judge.outside(inputs[-3:]))
