"""Train the network of the oracle tests:
`PYTHONPATH=tests python tests/attacks/oracle/train_oracle.py`.
"""

from __future__ import annotations

import torch
from mini_fashion import images
from oracle_net import WEIGHTS, untrained
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F


def shifted(images: Tensor, by: int = 4) -> Tensor:
    """All by the same few pixels, so that spatial attacks have something to look for."""
    down, right = torch.randint(-by, by + 1, (2,)).tolist()
    return F.pad(images, (by,) * 4).roll((down, right), (2, 3))[..., by:-by, by:-by]


def main() -> None:
    torch.manual_seed(0)
    network = untrained()
    clean, labels = images("train")
    epochs, batch = 40, 64
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    steps = epochs * (len(clean) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(clean))[: len(clean) // batch * batch].split(batch):
            loss = F.cross_entropy(network(shifted(clean[part])), labels[part], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    save_file(network.state_dict(), WEIGHTS)
    clean, labels = images("test")
    accuracy = (network(clean).argmax(1) == labels).float().mean()
    print(f"{WEIGHTS}: {100 * accuracy:.1f} % of {len(labels)} test images")


if __name__ == "__main__":
    main()
