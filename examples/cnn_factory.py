"""A network of your own for `privaudit scan MODEL --adapter examples/cnn_factory.py:factory`.

Copy this file, put your module in it and keep three things: `factory` takes no arguments and returns the module, the
module's parameters have the names that the checkpoint has, and `input_shape` is (channels, height, width). Weights come
from the checkpoint, so how the module initialises itself does not matter.
"""

import torch
from torch import Tensor, nn


class ConvInFrontOfMlp(nn.Module):
    """A 3x3 convolution without padding, then two linear layers; (N, 3, 32, 32) inputs to (N, 10) outputs."""

    input_shape = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, kernel_size=3)
        self.fc1 = nn.Linear(32 * 30 * 30, 200)
        self.fc2 = nn.Linear(200, 10, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs are preprocessed already: privaudit subtracts the mean and divides by the deviation it was told."""
        hidden = torch.relu(self.conv(inputs))
        outputs: Tensor = self.fc2(torch.relu(self.fc1(hidden.flatten(1))))
        return outputs


def factory() -> nn.Module:
    """What `--adapter file.py:factory` calls."""
    return ConvInFrontOfMlp()
