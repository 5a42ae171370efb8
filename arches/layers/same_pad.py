"""TensorFlow's "same" padding, which PyTorch's symmetric padding does not reproduce under strides.

A stride of 2 on an even side pads one pixel at the bottom and right only. Padding both sides
instead shifts the grid that is sampled and moves the class probabilities visibly.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after one axis so that the output has ``ceil(size / stride)`` entries.

    Args:
        size: length of the axis.
        kernel: length of the window.
        stride: step of the window.

    Returns:
        Entries to add before and after; where the sum is odd, one more after.
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with bias whose output has ``ceil(n / stride)`` pixels along each side."""

    def __init__(self, in_width: int, width: int, kernel: int, stride: int = 1) -> None:
        symmetric = stride == 1 and kernel % 2 == 1
        padding = kernel // 2 if symmetric else 0
        super().__init__(in_width, width, kernel, stride=stride, padding=padding)
        self.symmetric = symmetric

    def forward(self, input: Tensor) -> Tensor:
        """Convolve N x C x H x W."""
        if not self.symmetric:
            top, bottom = same_padding(input.shape[-2], self.kernel_size[0], self.stride[0])
            left, right = same_padding(input.shape[-1], self.kernel_size[1], self.stride[1])
            input = functional.pad(input, (left, right, top, bottom))
        return super().forward(input)


class SameMaxPool2d(nn.Module):
    """Max-pooling whose output has ``ceil(n / stride)`` pixels along each side.

    Args:
        kernel: side of the window, not smaller than the stride.
        stride: step of the window, at least 2.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        if not kernel >= stride >= 2:
            raise ValueError(f"a pool needs kernel >= stride >= 2, not {kernel} and {stride}.")
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pool N x C x H x W; what lies outside never wins, whatever the sign of the values."""
        top, _ = same_padding(x.shape[-2], self.kernel, self.stride)
        left, _ = same_padding(x.shape[-1], self.kernel, self.stride)
        # ceil_mode lets the last window hang over the border, which is the padding after.
        return functional.max_pool2d(x, self.kernel, self.stride, (top, left), ceil_mode=True)

    def extra_repr(self) -> str:
        """Window and step, for printing."""
        return f"kernel={self.kernel}, stride={self.stride}"
