"""One of two ranks: take half of the batch, average the gradients over the ranks, and save what came out."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from rlq_ray.collectives import gather_with_gradient
from rlq_ray.losses import batch_hard_triplet


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    whole = torch.load(folder / "whole.pt", weights_only=True)
    half = slice(4 * rank, 4 * rank + 4)
    weight = whole["weight"].requires_grad_()
    feat_BD, pid_B = whole["image"][half] @ weight, whole["pid"][half]
    gathered_BD, gathered_B = gather_with_gradient(feat_BD), gather_with_gradient(pid_B)
    loss = batch_hard_triplet(gathered_BD, gathered_B, margin=1.0)
    loss.backward()
    dist.all_reduce(weight.grad)
    result = {"loss": loss.detach(), "gradient": weight.grad / 2, "feat": gathered_BD.detach(), "pid": gathered_B}
    torch.save(result, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
