"""The weights of a network as they were before it was measured: to see, and undo, a change."""

from __future__ import annotations

from torch import Tensor

from bench.models import weights
from bench.models.network import Network

# Of a larger tensor so many values are compared where PyTorch has seen no change of it.
SAMPLED = 1024


class Pristine:
    """Keeps a copy of all weights and statistics of a network; `fingerprint` is a hash over them.

    To read every weight after every cell would cost more than a small cell itself. So a tensor is
    compared whole if PyTorch has counted a change of it or it is another one; else, for `.data`
    can be written into uncounted, by a sample of its values.
    """

    def __init__(self, network: Network) -> None:
        state = network.state_dict()
        self._copies = {name: tensor.clone() for name, tensor in state.items()}
        self._stamps = {name: _stamp(tensor) for name, tensor in state.items()}
        self.fingerprint = weights.fingerprint(self._copies)

    def restore(self, network: Network) -> bool:
        """Undo what was done to the network; return whether its weights had changed."""
        network.zero_grad(set_to_none=True)
        state = network.state_dict()
        changed = state.keys() != self._copies.keys() or any(
            self._differs(name, tensor) for name, tensor in state.items()
        )
        if changed:
            network.load_state_dict(self._copies)
            self._stamps = {name: _stamp(t) for name, t in network.state_dict().items()}
        return changed

    def _differs(self, name: str, tensor: Tensor) -> bool:
        copy = self._copies[name]
        if _stamp(tensor) == self._stamps[name] and copy.numel() > SAMPLED:
            every = copy.numel() // SAMPLED
            tensor, copy = tensor.flatten()[::every], copy.flatten()[::every]
        return not tensor.equal(copy)


def _stamp(tensor: Tensor) -> tuple[int, int]:
    # Tensors of inference mode count no changes.
    version = 0 if tensor.is_inference() else tensor._version
    return version, tensor.data_ptr()
