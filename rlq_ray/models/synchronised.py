"""BatchNorm over the images of all workers: torch's on CUDA, which is all that it is for, and a plain one elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlq_ray.collectives import sum_with_gradient, world_size


class SynchronisedBatchNorm(nn.SyncBatchNorm):
    """Normalises by the mean and variance of the whole batch, of which every worker holds an equal share.

    Without other workers, and in eval mode, it is BatchNorm.
    """

    def forward(self, image_BC: Tensor) -> Tensor:
        """Normalise `(B, C, …)`; every worker must call it."""
        if image_BC.is_cuda:
            return super().forward(image_BC)
        if not self.training or world_size() == 1:  # torch's own would ask for CUDA where it has no others to ask, too
            return super(nn.SyncBatchNorm, self).forward(image_BC)
        own_BC = image_BC.to(self.weight.dtype)
        others = (0, *range(2, own_BC.dim()))
        shape = (1, -1, *(1,) * (own_BC.dim() - 2))
        count = own_BC.numel() // own_BC.shape[1] * world_size()
        mean_C = sum_with_gradient(own_BC.sum(others)) / count
        centred_BC = own_BC - mean_C.view(shape)
        variance_C = sum_with_gradient(centred_BC.square().sum(others)) / count
        self._keep(mean_C.detach(), variance_C.detach() * count / (count - 1))
        scale_C = self.weight * (variance_C + self.eps).rsqrt()
        return (centred_BC * scale_C.view(shape) + self.bias.view(shape)).to(image_BC.dtype)

    @torch.no_grad()
    def _keep(self, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)
        self.num_batches_tracked.add_(1)


def synchronise_batchnorm(network: nn.Module) -> None:
    """Let every BatchNorm in a network look at all workers' images; parameters and buffers stay the same objects."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            layer = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum)
            layer.weight, layer.bias = child.weight, child.bias
            layer.running_mean, layer.running_var = child.running_mean, child.running_var
            layer.num_batches_tracked = child.num_batches_tracked
            setattr(network, name, layer)
        else:
            synchronise_batchnorm(child)
