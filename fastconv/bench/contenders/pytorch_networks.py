"""The networks whose training is compared, as PyTorch's users write them.

Shortcuts of changing width are 1x1 convolutions with batch norm; ReLU works in place.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def lenet(classes: int) -> nn.Module:
    """Build the LeNet of `fastconv.models.lenet`, which has ReLU after pooling too."""
    features = nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(True)
    more = nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(True), nn.Flatten()
    dense = nn.Linear(400, 120), nn.ReLU(True), nn.Linear(120, 84), nn.ReLU(True), nn.Linear(84, classes)
    return nn.Sequential(*features, *more, *dense)


def fashion_7x7(classes: int) -> nn.Module:
    """Four 7x7 convolutions and a linear layer."""
    widths = (1, 32, 64, 128, 256)
    pairs = zip(widths, widths[1:], strict=False)
    features = [part for ins, outs in pairs for part in (nn.Conv2d(ins, outs, 7), nn.ReLU(True))]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(4096, classes))


def _normalised(ins: int, outs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outs)]


class Residual(nn.Module):
    """Add the input, or its projection, to what the layers give."""

    def __init__(self, layers: list[nn.Module], shortcut: list[nn.Module], relu: bool):
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), nn.Sequential(*shortcut)
        self.relu = nn.ReLU(True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return self.relu(self.layers(x) + self.shortcut(x))


def _stages(ins: int, widths: tuple[int, ...], depth: int) -> list[nn.Module]:
    """Return basic blocks of K. He et al., *Deep Residual Learning* (2016), `depth` of each width."""
    blocks: list[nn.Module] = []
    for width in widths:
        for number in range(depth):
            stride = 2 if number == 0 and width != widths[0] else 1
            layers = [*_normalised(ins, width, 3, stride), nn.ReLU(True), *_normalised(width, width, 3)]
            shortcut = [] if ins == width and stride == 1 else _normalised(ins, width, 1, stride)
            blocks.append(Residual(layers, shortcut, relu=True))
            ins = width
    return blocks


def _head(width: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


def resnet20(classes: int) -> nn.Module:
    """Build the ResNet of 20 layers for CIFAR."""
    return nn.Sequential(*_normalised(3, 16, 3), nn.ReLU(True), *_stages(16, (16, 32, 64), 3), *_head(64, classes))


def resnet18(classes: int) -> nn.Module:
    """Build the ResNet of 18 layers for ImageNet."""
    stem = [*_normalised(3, 64, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *_stages(64, (64, 128, 256, 512), 2), *_head(512, classes))


def mobilenet_v2(classes: int) -> nn.Module:
    """M. Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks* (2018), table 2."""
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    layers, ins = [*_normalised(3, 32, 3, 2), nn.ReLU6(True)], 32
    for expansion, outs, repeats, first_stride in table:
        for number in range(repeats):
            stride, hidden = first_stride if number == 0 else 1, ins * expansion
            block = [] if expansion == 1 else [*_normalised(ins, hidden, 1), nn.ReLU6(True)]
            block += [*_normalised(hidden, hidden, 3, stride, hidden), nn.ReLU6(True), *_normalised(hidden, outs, 1)]
            residual = stride == 1 and ins == outs
            layers.append(Residual(block, [], relu=False) if residual else nn.Sequential(*block))
            ins = outs
    layers += [*_normalised(ins, 1280, 1), nn.ReLU6(True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(1280, classes))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "lenet": lenet,
    "fashion_7x7": fashion_7x7,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
}
