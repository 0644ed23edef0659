"""One tensor from the tensors of all workers; knows torch.distributed and nothing about losses."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


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
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


def gather_with_gradient(tensor_B: Tensor) -> Tensor:
    """Concatenate the tensors of all ranks along the first dimension, in order of rank; every rank gets all of it.

    The gradient of a rank's own rows is the sum of what all ranks computed for them. So if each rank computes the same
    loss on the gathered batch and DistributedDataParallel averages the parameters' gradients, they are those of one
    process on the whole batch. Returns `tensor_B` itself without a process group or with one rank. All ranks must
    call it, with equal shapes.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor_B
    gathered: Tensor = _Gather.apply(tensor_B.contiguous())
    return gathered
