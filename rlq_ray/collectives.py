"""What workers do together through torch.distributed; on one worker each call is a no-op.

Gradients are averaged after the backward pass in one flat message instead of by DistributedDataParallel: CAP and TAD
use different parts of one network, and parts that a step leaves out must keep no gradient, or Adam would move them.
Every worker must make the same calls in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class World:
    """Which worker this is, of how many."""

    rank: int = 0
    size: int = 1

    def share(self, num: int) -> tuple[int, int]:
        """Return start and stop of this worker's part of `num` things; `num` is a multiple of the size."""
        part = num // self.size
        return self.rank * part, (self.rank + 1) * part


def seeded_generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator whose draws depend on the parts alone, such as (seed, "cap", step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def average_gradients(parameters: Iterable[nn.Parameter], values_N: Tensor) -> Tensor:
    """Average the gradients over the workers in place, and with them some values to be logged, in one message.

    Parameters without a gradient keep none; they must be the same ones on every worker.

    Returns:
        the averaged values, detached.
    """
    values_N = values_N.detach()
    if not _together():
        return values_N
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients] + [values_N.to(gradients[0].dtype)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    *parts, averaged_N = flat.split([gradient.numel() for gradient in gradients] + [values_N.numel()])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return averaged_N


def step_if_finite(optimizer: torch.optim.Optimizer, losses_N: Tensor) -> None:
    """Update the parameters unless a loss is not finite, decided on the device; the optimiser must be a fused one."""
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.found_inf = (~losses_N.isfinite().all()).float()  # type: ignore[attr-defined]
    optimizer.step()


def average_running_statistics(module: nn.Module) -> None:
    """Replace BatchNorm's running mean and variance by their averages over the workers, so that all evaluate alike."""
    if not _together():
        return
    buffers = [buffer for name, buffer in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
    if not buffers:
        return
    flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))


def anyone(is_so: bool, device: torch.device) -> bool:
    """Tell every worker whether something is so on any of them."""
    if not _together():
        return is_so
    flag = torch.tensor(float(is_so), device=device)
    dist.all_reduce(flag)
    return bool(flag.item() > 0)


def gather_with_gradient(tensor_B: Tensor) -> Tensor:
    """Concatenate the tensors of all ranks along the first dimension, in order of rank; every rank gets all of it.

    The gradient of a rank's own rows is the sum of what all ranks computed for them. So if each rank computes the same
    loss on the gathered batch and `average_gradients` averages those of the parameters, they are those of one
    process on the whole batch. Returns `tensor_B` itself without a process group or with one rank. All ranks must
    call it, with equal shapes.
    """
    if not _together():
        return tensor_B
    gathered: Tensor = _Gather.apply(tensor_B.contiguous())
    return gathered


def sum_with_gradient(tensor: Tensor) -> Tensor:
    """Add up the workers' tensors of one shape; the gradient of each is the sum of what all computed for the sum."""
    if not _together():
        return tensor
    total: Tensor = _Sum.apply(tensor)
    return total


def world_size() -> int:
    """Count the workers."""
    return dist.get_world_size() if _together() else 1


def gather_rows(part_ND: Tensor, *, total: int) -> Tensor:
    """Put together what worker r holds of rows r, r + size, r + 2·size …, without gradient.

    Args:
        part_ND: this worker's rows, in order.
        total: rows of all workers together; the workers' parts differ by at most one row.

    Returns:
        `(total, D)`, the same on every worker.
    """
    if not _together():
        return part_ND
    size = dist.get_world_size()
    longest = -(-total // size)
    padded = part_ND.new_zeros((longest, *part_ND.shape[1:]))
    padded[: part_ND.shape[0]] = part_ND
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor_B: Tensor) -> Tensor:
        ctx.rows = tensor_B.shape[0]
        parts = [torch.empty_like(tensor_B) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor_B)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _summed(grad).narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        return _summed(tensor)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        return _summed(grad)


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
