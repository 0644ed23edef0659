"""One of `size` ranks: a few steps of CAP and TAD; saves losses, gradients, parameters and running statistics.

BatchNorm is frozen unless it is synchronised.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from rlq_ray.collectives import World
from rlq_ray.config.load import build_config
from rlq_ray.train.build import build
from rlq_ray.train.loop import Plan, train_step


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=size)
    config = build_config(json.loads((folder / "config.json").read_text()))
    parts = build(config, world=World(rank, size), device=torch.device("cpu"))
    # Behind a BatchNorm that is not frozen many gradients are 0 but for rounding, and Adam makes whole steps of them.
    rate = 1e-6 if config.model.synchronised_batchnorm else 1e-3
    network = parts.state.network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not config.model.synchronised_batchnorm:
            module.eval()
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", torch.device("cpu"), size)
    told = []
    for step in range(parts.timeline.total_steps):
        parts.state.step = step
        record = train_step(parts.state, plan, parts.state.phases[parts.timeline.phase(step)], rate)
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        told.append({"phase": record.phase, "names": list(record.names), "terms": record.terms_N, "grads": gradients})
    parts.close()
    weights = {"network": network.state_dict(), "clothes": parts.state.clothes.classifier.state_dict()}
    torch.save({"steps": told, "weights": weights}, folder / f"size{size}_rank{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
