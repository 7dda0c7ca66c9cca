"""From a file to a verdict for networks that are no plain chain: exported, normalised, of a library."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage.data import lfw_subset
from torch import nn
from torchvision import models

from privaudit.audit import scan
from privaudit.config import ScanSettings
from privaudit.progress import SilentListener
from privaudit.result import AuditResult

N = 12


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-image's faces: twelve to train on, 188 never seen."""
    images = np.rint(np.clip(lfw_subset(), 0, 1) * 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "faces.npz"
    labels = np.arange(len(images)) % 2
    np.savez(path, member_images=images[:N], member_labels=labels[:N], control_images=images[N:])
    return path


def learnt(module: nn.Module, pictures: Path, steps: int = 400, decay: float = 2e-2) -> nn.Module:
    """By heart, every picture a class of its own, with weight decay until the start is forgotten."""
    inputs = torch.from_numpy(np.load(pictures)["member_images"]).float()[:, None] / 255 - 0.5
    optimiser = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=decay)
    module.train()
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs), torch.arange(N)).backward()
        optimiser.step()
    return module.eval()


def audited(model: Path, pictures: Path, out: Path, **settings: object) -> AuditResult:
    options = {"budget": "quick", "mean": "0.5", **settings}
    return scan(
        ScanSettings(model=model, reference=f"{pictures}:member", control=f"{pictures}:control", out=out, **options),  # type: ignore[arg-type]
        SilentListener(),
        "test",
    ).result


@pytest.mark.slow
def test_an_exported_network_with_batchnorm_is_read_and_searched(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = learnt(
        nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 23 * 23, 60), nn.ReLU(),
            nn.Linear(60, N, bias=False),
        ),
        pictures,
    )  # fmt: skip
    program = torch.export.export(module, (torch.zeros(2, 1, 25, 25),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, tmp_path / "model.pt2")
    result = audited(tmp_path / "model.pt2", pictures, tmp_path / "audit")
    assert result.model.adapter == "exported" and result.model.format == "torch-export"
    assert result.preflight.objectives == ("feature_span",)
    evidence = result.evidence
    assert evidence is not None and evidence.membership.exposure is not None
    assert evidence.membership.members_found >= N - 1 and evidence.membership.controls_found == 0
    assert "last layer" in evidence.membership.exposure.reason
    assert [run.objective for run in result.attack.runs] == ["feature_span"]
    assert evidence.calibrated_threshold.members_leaked >= N - 2 and result.verdict.status == "leak_found"


@pytest.mark.slow
def test_an_untrained_network_of_a_library_is_no_leak_and_never_a_clean_bill(pictures: Path, tmp_path: Path) -> None:
    """Of twelve images that mean nothing to the network more than one is readable in 2e-3 of the cases."""
    torch.manual_seed(0)
    save_file(models.resnet18(num_classes=N).state_dict(), tmp_path / "model.safetensors")
    rgb = tmp_path / "rgb.npz"
    held = np.load(pictures)
    np.savez(rgb, **{name: np.repeat(held[name][..., None], 3, 3) for name in ("member_images", "control_images")})
    result = audited(
        tmp_path / "model.safetensors", rgb, tmp_path / "audit", adapter="torchvision:resnet18", input_shape="3,25,25"
    )
    evidence = result.evidence
    assert evidence is not None and evidence.membership.applicable and evidence.membership.members_found <= 1
    assert result.preflight.objectives == () and result.verdict.status == "inconclusive"
    assert any("Normalisation" in reason for reason in result.preflight.reasons)
