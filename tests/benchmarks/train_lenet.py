"""Train the network of the speed benchmarks:
`PYTHONPATH=tests python tests/benchmarks/train_lenet.py`.

It is LeNetFC, the smallest network of the paper, so that what an attack spends beside the
network's predictions weighs most.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from mini_fashion import images
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

import arches

WEIGHTS = Path(__file__).with_name("lenet_fc.safetensors")


def untrained() -> nn.Module:
    return arches.create("lenet_fc", "bu", in_chans=1, num_classes=10)


def trained() -> nn.Module:
    network = untrained()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval().requires_grad_(False)


def main() -> None:
    torch.manual_seed(0)
    network, (clean, labels) = untrained().train(), images("train")
    epochs, batch = 12, 32
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    steps = epochs * (len(clean) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(clean)).split(batch):
            loss = F.cross_entropy(network(clean[part]), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    save_file(network.state_dict(), WEIGHTS)
    clean, labels = images("test")
    with torch.no_grad():
        accuracy = (network(clean).argmax(1) == labels).float().mean()
    sys.stdout.write(f"{WEIGHTS}: {100 * accuracy:.1f} % of {len(labels)} test images\n")


if __name__ == "__main__":
    main()
