import pytest
import torch
from torch import nn

from privaudit.planted import one_thread
from privaudit.training.private import PrivateSgd
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import BatchPlan, FirstOrder, GrowingDescent, Lbfgs


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def problem(weight_decay=1e-2, n=12):
    generator = torch.Generator().manual_seed(3)
    inputs, targets = torch.randn(n, 5, generator=generator), torch.arange(n) % 3
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3, bias=False))
    return TrainingProblem(module, inputs, targets, nn.functional.cross_entropy, weight_decay)


def stepper_of(name, found):
    plan = BatchPlan(size=4, epochs=50, seed=1, is_cosine=name == "cosine")
    sgd = torch.optim.SGD(found.parameters, 0.1, 0.5, weight_decay=found.weight_decay)
    if name == "lbfgs":
        return Lbfgs(found)
    if name == "growing":
        return GrowingDescent(found, 0.1, 0.5)
    if name == "private":
        return PrivateSgd(found, sgd, plan, noise=0.5, clip=1.0)
    return FirstOrder(found, sgd, plan)


NAMES = ["lbfgs", "growing", "batches", "cosine", "private"]


def flat(found):
    return torch.cat([p.detach().flatten() for p in found.problem.parameters] if hasattr(found, "problem") else
                     [p.detach().flatten() for p in found.parameters])  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_lowers_the_loss(name):
    found = problem()
    before = found.look()[0]
    stepper = stepper_of(name, found)
    for epoch in range(30):
        stepper.advance(epoch)
    # Noise keeps DP-SGD from going as far.
    assert found.look()[0] < (0.9 if name == "private" else 0.7) * before


@pytest.mark.parametrize("name", NAMES)
def test_goes_on_from_a_state_to_the_same_weights(name, tmp_path):
    """The state passes through a file, as after a kill."""
    whole = problem()
    stepper = stepper_of(name, whole)
    for epoch in range(4):
        stepper.advance(epoch)
    torch.save({"stepper": stepper.state(), "module": whole.module.state_dict()}, tmp_path / "state")
    for epoch in range(4, 8):
        stepper.advance(epoch)
    saved = torch.load(tmp_path / "state", weights_only=True)
    again = problem()
    other = stepper_of(name, again)
    again.module.load_state_dict(saved["module"])
    other.restore(saved["stepper"])
    for epoch in range(4, 8):
        other.advance(epoch)
    assert torch.equal(flat(again), flat(whole))


def test_descent_never_raises_the_loss_and_says_when_there_is_nowhere_to_go():
    found = problem()
    stepper = GrowingDescent(found, 1e3, 0.0)
    losses = []
    for epoch in range(40):
        assert stepper.advance(epoch)
        losses.append(float(found.penalised()))
    assert losses == sorted(losses, reverse=True)
    for parameter in found.parameters:
        parameter.data.zero_()
    still = TrainingProblem(found.module, found.inputs, found.targets, lambda o, t: -o.sum() * 0 + o.sum() * 0, 0.0)
    before = flat(still)
    # Where the gradient is zero every step keeps the loss: allowed, and nothing moves.
    GrowingDescent(still, 1.0, 0.0).advance(0)
    assert torch.equal(flat(still), before)
    rising = TrainingProblem(
        found.module, found.inputs, found.targets, lambda o, t: o.sum() * 0 + _Counting.value(), 0.0
    )
    assert GrowingDescent(rising, 1.0, 0.0).advance(0) is False


class _Counting:
    """A loss that is higher every time it is looked at: no step can lower it."""

    n = 0

    @classmethod
    def value(cls):
        cls.n += 1
        return float(cls.n)


def test_batches_cover_every_image_once_a_pass_in_an_order_of_their_own():
    found = problem()
    seen = []
    recording = TrainingProblem(
        found.module, torch.arange(12.0)[:, None].expand(12, 5).clone(), found.targets, found.loss, 0.0
    )
    stepper = FirstOrder(recording, torch.optim.SGD(found.parameters, 0.0), BatchPlan(5, 10, 0))
    orders = []
    for epoch in range(2):
        seen = [inputs[:, 0] for inputs, _ in stepper._batches(stepper._plan.generator(epoch))]
        assert [len(batch) for batch in seen] == [5, 5, 2]
        orders.append(torch.cat(seen).tolist())
        assert sorted(orders[-1]) == list(range(12))
    assert orders[0] != orders[1]


def test_residual_is_the_gradient_over_the_decay():
    found = problem(weight_decay=0.05)
    loss, residual = found.look()
    theta = flat(found)
    fit = nn.functional.cross_entropy(found.module(found.inputs), found.targets)
    gradients = torch.cat([g.flatten() for g in torch.autograd.grad(fit, found.parameters)])
    assert loss == pytest.approx(float(fit))
    assert residual == pytest.approx(float((gradients + 0.05 * theta).norm() / (0.05 * theta.norm())), rel=1e-4)


def test_private_gradients_are_clipped_image_by_image_and_the_guarantee_weakens_with_steps():
    found = problem(weight_decay=0.0)
    before = flat(found)
    plan = BatchPlan(size=12, epochs=1, seed=0)  # every image enters
    stepper = PrivateSgd(found, torch.optim.SGD(found.parameters, 1.0), plan, noise=1e-9, clip=0.01)
    expected = torch.zeros_like(before)
    for image, target in zip(found.inputs, found.targets, strict=True):
        loss = nn.functional.cross_entropy(found.module(image[None]), target[None])
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, found.parameters)])
        expected += gradient * min(1.0, 0.01 / float(gradient.norm())) / 12
    stepper.advance(0)
    assert torch.allclose(before - flat(found), expected, atol=1e-5)
    noisy = PrivateSgd(problem(), torch.optim.SGD(problem().parameters, 0.1), BatchPlan(4, 9, 0), 1.0, 1.0)
    assert noisy.epsilon(1e-3) == 0.0


def test_epsilon_is_what_opacus_computes_and_grows():
    from opacus.accountants import RDPAccountant

    found = problem()
    stepper = PrivateSgd(found, torch.optim.SGD(found.parameters, 0.1), BatchPlan(4, 9, 0), 1.0, 1.0)
    stepper.advance(0)
    first = stepper.epsilon(1e-3)
    accountant = RDPAccountant()
    for _ in range(3):
        accountant.step(noise_multiplier=1.0, sample_rate=4 / 12)
    assert first == pytest.approx(accountant.get_epsilon(1e-3))
    stepper.advance(1)
    assert stepper.epsilon(1e-3) > first


def test_a_network_that_mixes_images_is_refused():
    from privaudit.errors import ConfigError

    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    mixing = TrainingProblem(module, torch.randn(6, 5), torch.arange(6) % 3, nn.functional.cross_entropy, 0.0)
    with pytest.raises(ConfigError, match="expected a network whose gradients Opacus can take"):
        PrivateSgd(mixing, torch.optim.SGD(module.parameters(), 0.1), BatchPlan(3, 1, 0), 1.0, 1.0)
