"""What one step costs: the published step against ours, interleaved in one run, ratios printed.

    python benchmarks/step_cost.py CHECKPOINTS [--only NAME ...] [--repeats 7] [--tf32]

For every MLP checkpoint with m = 2n candidates, as published: the published step (double backward, float64, pixels);
ours over pixels with whole layers, in float64 and float32; ours over pixels with thin factors where a layer has low
rank; ours in the span of the first layer. Each of ours includes Adam and the prior. FLOPs are counted by formula, the
ceiling is the best of large square matrix products in the same run, and the floor is the one over the other. The last
rows are the default scan: eight restarts side by side, 1.25 candidates an image, the time of a step of one restart.

Set OMP_NUM_THREADS=1 on a shared machine. With a CUDA device everything runs there, and a last row replays the step
from a CUDA graph.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from published_step import PublishedAttack, PublishedSettings

from privaudit.config import ScanSettings
from privaudit.inspection import survey_of
from privaudit.loading import Loaded, load
from privaudit.networks import ReluMlp
from privaudit.objectives.gradient_sum import ReluMlpSum
from privaudit.objectives.span_equation import SpanEquation
from privaudit.progress import SilentListener
from privaudit.searches import build_searches
from privaudit.solver import SolverSettings, minimise
from privaudit.spans import SearchSpace, pixel_space

NAMES = ("cifar10-ce-wd-50", "cifar10-mse-wd-50", "cifar10-bce-50", "cifar10-ce-wd-500")


@dataclass(frozen=True)
class Case:
    """One way to do a step.

    Attributes:
        label: in the table.
        run: does `n` steps.
        flops: of one step.
        dtype: whose matmul ceiling counts.
        n: steps a measurement; `share`: steps that count as one (restarts side by side).
    """

    label: str
    run: Callable[[int], object]
    flops: float
    dtype: torch.dtype
    n: int
    share: int = 1


def wait() -> None:
    """For the device, so that a clock means something."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run: Callable[[int], object], n: int) -> float:
    """Seconds of one of `n` steps."""
    wait()
    begun = time.perf_counter()
    run(n)
    wait()
    return (time.perf_counter() - begun) / n


def ceiling(dtype: torch.dtype, device: torch.device, size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of the best of a few square matrix products."""
    generator = torch.Generator().manual_seed(0)
    size = size if device.type == "cpu" else 4 * size
    one = torch.randn(size, size, generator=generator).to(device, dtype)
    return 2 * size**3 / min(timed(lambda n: [one @ one for _ in range(n)], 1) for _ in range(repeats))


def published_flops(network: ReluMlp, m: int) -> float:
    """Forward, backward for the weights, and the backward of both for images and multipliers.

    Per layer of P weights and m images a product is 2mP. Forward 1, weight gradients 1, back-signals 1 (not below the
    first layer); their derivatives 2, and 1 for the way to the images, which also crosses the first layer.
    """
    sizes = [layer.weight.numel() for layer in network.linear_layers()]
    return float(2 * m * (5 * sum(sizes) + 2 * sum(sizes[1:])))


def own_flops(whole: ReluMlpSum, m: int, space: SearchSpace) -> float:
    """Of one restart: forward and back-signals, each differentiated once, the residual, the prior's products."""
    total = 0.0
    for index, layer in enumerate(whole.layers):
        n_out, n_in = layer.weight.shape
        product = n_out * n_in if layer.factors is None else len(layer.factors[1]) * (n_out + n_in)
        total += 2 * m * product * (4 if index else 2)
        total += 3 * 2 * m * min(m * (n_out + n_in), n_out * n_in)  # Gram matrices or the sum itself, and derivatives
    if space.decoder is not None:
        rank, d = space.decoder.shape
        total += 2 * 2 * m * rank * (rank + d / 8)
    return total


def stepper(equation: SpanEquation, n_restarts: int = 1) -> Callable[[int], object]:
    """Steps of the solver from one start."""
    start = equation.start(n_restarts, torch.Generator().manual_seed(0))
    return lambda n: minimise(equation, start, SolverSettings(n))


def cases(loaded: Loaded, settings: ScanSettings, m: int) -> list[Case]:
    """The published step first."""
    network = loaded.target.module
    assert isinstance(network, ReluMlp)
    found = survey_of(loaded, settings)
    own = build_searches(loaded.target, found, loaded.knowledge, m, torch.float32, loaded.device).equation
    default = build_searches(loaded.target, found, loaded.knowledge, None, torch.float32, loaded.device).equation
    assert isinstance(own, SpanEquation) and isinstance(default, SpanEquation)
    pixels = pixel_space(loaded.target.input_shape, loaded.knowledge.std, loaded.device)
    layers = network.linear_layers()
    published = PublishedAttack([x.weight for x in layers], [x.bias for x in layers], m, PublishedSettings(rate=1e-6))
    out = [
        Case("published: float64, pixels, double backward", lambda n: [published.step() for _ in range(n)],
             published_flops(network, m), torch.float64, 1)
    ]  # fmt: skip
    for label, dtype, tail in (
        ("pixels, whole layers, float64", torch.float64, 0.0),
        ("pixels, whole layers", torch.float32, 0.0),
        ("pixels, thin factors", torch.float32, None),
    ):
        equation = SpanEquation(own.name, network, pixels, loaded.knowledge, m, dtype)
        if tail is not None:
            equation._sum = ReluMlpSum(network, pixels, dtype, tail=tail)
        out.append(Case(label, stepper(equation), own_flops(equation._sum, m, pixels), dtype, 3))
    out.append(Case("span", stepper(own), own_flops(own._sum, m, own.space), torch.float32, 10))
    flops, n_side = own_flops(default._sum, default.n_candidates, default.space), 8
    label = f"default: {n_side} restarts of {default.n_candidates}, a step of one"
    out.append(Case(label, stepper(default, n_side), flops, torch.float32, 5, n_side))
    if loaded.device.type == "cuda":
        out.append(Case("span, CUDA graph, without Adam", graphed(own), out[-2].flops, torch.float32, 10))
    return out


def graphed(equation: SpanEquation) -> Callable[[int], object]:
    """Loss and gradients replayed from a CUDA graph (never run yet: there was no GPU)."""
    variables = equation.start(1, torch.Generator().manual_seed(0))
    for name in equation.learning_rates:
        variables[name].requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            equation.backward(variables, 0, 0.0)
    torch.cuda.current_stream().wait_stream(stream)
    for name in equation.learning_rates:
        variables[name].grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        equation.backward(variables, 0, 0.0)
    return lambda n: [graph.replay() for _ in range(n)]


def table(name: str, loaded: Loaded, settings: ScanSettings, repeats: int) -> None:
    """Measure and print one checkpoint."""
    assert loaded.reference is not None
    m = 2 * len(loaded.reference)
    todo = cases(loaded, settings, m)
    seconds: list[list[float]] = [[] for _ in todo]
    peaks: dict[torch.dtype, float] = {}
    for case in todo:
        case.run(1)
    for _ in range(repeats):
        for dtype in {case.dtype for case in todo}:
            peaks[dtype] = max(peaks.get(dtype, 0.0), ceiling(dtype, loaded.device, repeats=1))
        for case, times in zip(todo, seconds, strict=True):
            times.append(timed(case.run, case.n) / case.share)
    ratios = ", ".join(f"{str(k).removeprefix('torch.')} {v / 1e9:.0f} GFLOP/s" for k, v in peaks.items())
    print(f"\n{name}, m = {m}; matmul ceiling {ratios}\n")
    print("| step | ms | published / this | GFLOP | floor ms | this / floor |\n|---|---|---|---|---|---|")
    for case, times in zip(todo, seconds, strict=True):
        own = statistics.median(times)
        ratio = statistics.median(p / t for p, t in zip(seconds[0], times, strict=True))
        floor = case.flops / peaks[case.dtype]
        print(f"| {case.label} | {1e3 * own:.2f} | {ratio:.1f} | {case.flops / 1e9:.3f} "
              f"| {1e3 * floor:.2f} | {own / floor:.1f} |", flush=True)  # fmt: skip


def main() -> None:
    """Print one table a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--only", nargs="*", default=NAMES, help="names of checkpoints")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tf32", action="store_true", help="let float32 products round to TF32 (CUDA)")
    arguments = parser.parse_args()
    torch.set_float32_matmul_precision("high" if arguments.tf32 else "highest")
    threads = torch.get_num_threads()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads, torch {torch.__version__}")
    print(f"GPU: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'}")
    for name in arguments.only:
        held = arguments.checkpoints / f"{name}.images.npz"
        settings = ScanSettings(
            model=arguments.checkpoints / f"{name}.safetensors", reference=f"{held}:member", control=f"{held}:control"
        )
        table(name, load(settings, SilentListener()), settings, arguments.repeats)


if __name__ == "__main__":
    main()
