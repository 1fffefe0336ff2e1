"""Checkers for the exercises of the chapter `dcgan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_size(answer: Any, *, size: int, kernel: int, stride: int, padding: int) -> None:
    """Exercise 1: how many rows a transposed convolution makes of `size` rows.

    Raises:
        WrongAnswer: the answer is not stride · (size - 1) - 2 · padding + kernel; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The size", answer)
    whole = stride * (size - 1) + kernel
    if said == whole - 2 * padding:
        right(f"The {size} stamps stand {stride} apart and the last is {kernel} long; padding cuts both ends.")
        return
    _name(
        said,
        [
            (whole, "padding is cut off at both ends here: take 2 · padding away."),
            (whole - padding, "padding is cut off at both ends, not at one."),
            (whole + 2 * padding, "in a transposed convolution padding makes the output smaller."),
            (stride * size - 2 * padding + kernel, f"between {size} stamps there are {size - 1} strides."),
            ((size + 2 * padding - kernel) // stride + 1, "that is the way down, of a convolution; here it goes up."),
            (stride * size, "that holds where kernel = stride + 2 · padding, as in DCGAN, and not here."),
        ],
    )


def check_touches(answer: Callable[[int, int, int], Any]) -> None:
    """Exercise 2: `touches(size, kernel, stride)`: how many stamps fall on each place of a line, without padding.

    Raises:
        WrongAnswer: naming a wrong length or what was counted instead.
    """
    for size, kernel, stride in ((4, 3, 2), (4, 4, 2), (3, 2, 3)):
        result = answer(size, kernel, stride)
        if unanswered(result):
            return
        length = stride * (size - 1) + kernel
        counts = as_tensor("The counts", result, (length,)).double()
        true = F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride).view(-1).double()
        if not close(counts, true):
            case = f"size {size}, kernel {kernel}, stride {stride}"
            if close(counts.sum(), true.sum()):
                raise WrongAnswer(
                    f"as many stamps as there should be for {case}, but at other places: {true.tolist()}."
                )
            if close(counts, true.clamp(max=1)):
                raise WrongAnswer(f"for {case} you marked where a stamp falls; count how many do: {true.tolist()}.")
            raise WrongAnswer(f"for {case} the counts are {true.tolist()}.")
    right("Where the kernel is a multiple of the stride, all inner places are touched equally often: no chequerboard.")


def check_arc(answer: Callable[[Tensor, Tensor, float], Any]) -> None:
    """Exercise 3: `on_arc(a, b, share)`: the point at a share of the arc from a to b, of shape (d).

    Raises:
        WrongAnswer: naming a straight line, a swapped share, or an angle of vectors that were not normalised.
    """
    a, b = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 2.0])
    share = 0.25
    result = answer(a.clone(), b.clone(), share)
    if unanswered(result):
        return
    found = as_tensor("The point", result, (3,))
    if close(found, _arc(a, b, share)):
        for slanted in (torch.tensor([1.0, 2.0, 0.0]), torch.tensor([-1.0, 2.0, 0.0])):  # sharp, and obtuse
            if not close(as_tensor("The point", answer(a.clone(), slanted, share), (3,)), _arc(a, slanted, share)):
                raise WrongAnswer(
                    "right for vectors at a right angle, and wrong for others: the cosine of the angle is the product "
                    "of the vectors divided by both lengths, and it may be negative."
                )
        if not close(as_tensor("The point", answer(a.clone(), b.clone(), 0.6), (3,)), _arc(a, b, 0.6)):
            raise WrongAnswer("right at a quarter of the way, and wrong elsewhere: use `share`.")
        right("Half way on the arc a latent is about as long as those the generator was trained on.")
        return
    if close(found, torch.lerp(a, b, share)):
        raise WrongAnswer("that is the straight line: half way on it the vector is shorter than both of its ends.")
    if close(found, _arc(b, a, share)):
        raise WrongAnswer("at share 0 it should be a, and at share 1 it should be b: yours starts from b.")
    raise WrongAnswer(f"at a quarter of the way from {a.tolist()} to {b.tolist()} it is not {found.tolist()}.")


def _arc(a: Tensor, b: Tensor, share: float) -> Tensor:
    angle = torch.acos(torch.dot(a, b) / (a.norm() * b.norm()))
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


def check_transposed(answer: Callable[[Tensor, Tensor, int], Any]) -> None:
    """Exercise 4: `transposed(image, kernel, stride)` of (height, width) and (k, k), without padding.

    Raises:
        WrongAnswer: naming a wrong size, stamps that overwrite instead of adding up, a flipped kernel, or a call of
            PyTorch's own.
    """
    generator = torch.Generator().manual_seed(0)
    for stride, size in ((2, 4), (3, 2), (1, 3)):
        image = torch.randn(3, 2, generator=generator)
        kernel = torch.randn(size, size, generator=generator)
        with _NoTransposedConvolution():
            result = answer(image.clone(), kernel.clone(), stride)
        if unanswered(result):
            return
        true = _stamped(image, kernel, stride)
        found = as_tensor(f"The output for stride {stride} and a kernel of {size}", result, tuple(true.shape))
        if not close(found, true):
            raise WrongAnswer(_what_was_built(found, image, kernel, stride))
    right("Each number of the input stamps the kernel, times itself, and stamps add up where they overlap.")


class _NoTransposedConvolution(TorchFunctionMode):
    """Within this block PyTorch's own transposed convolutions refuse to work."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if "conv_transpose" in getattr(func, "__name__", ""):
            raise WrongAnswer("that calls PyTorch's own transposed convolution; build it from `F.conv2d`.")
        return func(*args, **(kwargs or {}))


def _what_was_built(found: Tensor, image: Tensor, kernel: Tensor, stride: int) -> str:
    mistakes = [
        (_stamped(image, kernel.flip(0, 1), stride), "the kernel is turned round: a stamp is not flipped."),
        (_stamped(image, kernel.T, stride), "rows and columns of the kernel are swapped."),
        (_overwritten(image, kernel, stride), "stamps that overlap add up; yours overwrite what was there."),
    ]
    for wrong, message in mistakes:
        if close(found, wrong):
            return message
    far = float((found - _stamped(image, kernel, stride)).abs().max())
    return f"for stride {stride} and a kernel of {len(kernel)} it differs from F.conv_transpose2d by up to {far:.3g}."


def _stamped(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return F.conv_transpose2d(image[None, None], kernel[None, None], stride=stride)[0, 0]


def _overwritten(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    output = torch.zeros_like(_stamped(image, kernel, stride))
    k = len(kernel)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            y, x = stride * row, stride * column
            output[y : y + k, x : x + k] = image[row, column] * kernel
    return output


def _name(value: float, mistakes: list[tuple[Any, str]]) -> None:
    for wrong, message in mistakes:
        if value == wrong:
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {value:g}.")
