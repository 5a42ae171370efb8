"""Efficiency figures against the paper's tables, arithmetic by hand and torch's own counter."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from measure_parts import CPU, context, first_pixels
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import arches
from bench.data.embedded import fashion_mnist_mini
from bench.errors import BenchError
from bench.measures import base, efficiency
from bench.measures.cost import sensors, timing
from bench.measures.cost.options import Options
from bench.measures.cost.speed import LARGEST
from bench.models import main_memory
from bench.train.determinism import numerics


def options(**given: Any) -> Options:
    """Options of the measure, quick unless the test says otherwise."""
    return Options.model_validate({"batch_size": 4, "seconds": 0.01, "resident": False, **given})


def figures(
    backbone: nn.Module, side: int = 28, place: int = 0, device: torch.device = CPU, **given: Any
) -> dict[str, float]:
    """What the cell of the mode at that place finds."""
    dataset = fashion_mnist_mini(Path()) if side == 28 else first_pixels([0, 1], [0, 1], side)
    item = efficiency.items(options(**given))[place]
    made = context(dataset, backbone, item.options)
    found = efficiency.run(replace(made, network=made.network.to(device), device=device))
    assert isinstance(found, base.Found)
    return dict(found.metrics)


def conv(side: int, kernel: int, wide_in: int, wide_out: int) -> int:
    """Two operations per multiply-add of a convolution with as many outputs as inputs."""
    return 2 * side**2 * kernel**2 * wide_in * wide_out


BU = conv(28, 5, 1, 6) + conv(14, 5, 6, 16) + conv(7, 3, 16, 32) + conv(7, 1, 32, 10)
TD = (
    conv(28, 5, 1, 6)  # the stems
    + conv(14, 5, 1, 16)
    + conv(7, 3, 1, 32)
    + conv(7, 1, 32, 16)  # to the middle resolution
    + conv(14, 3, 32, 16)
    + conv(14, 5, 16, 16)
    + conv(14, 1, 16, 6)  # to the full resolution
    + conv(28, 3, 12, 6)
    + conv(28, 5, 6, 6)
    + conv(28, 1, 6, 10)
)


@pytest.mark.parametrize(
    ("variant", "parameters", "flops"), [("bu", 7_670, BU), ("td", 14_452, TD)]
)
def test_lenet_by_hand(variant: str, parameters: int, flops: int) -> None:
    network = arches.create("lenet_fc", variant, 1)
    found = figures(network)
    assert found["parameters"] == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.pyramid([torch.zeros(1, 1, 28, 28)] * len(network.scales))
    scales = counter.get_total_flops()
    assert scales == 0 if variant == "bu" else 0 < scales < 0.05 * flops
    assert found["flops"] == flops + scales
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 28, 28))
    assert found["flops"] == counter.get_total_flops()


def test_a_linear_network_by_hand() -> None:
    found = figures(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), side=3)
    assert found["parameters"] == 40
    assert found["flops"] == 2 * 9 * 4


def test_frozen_parameters_do_not_count() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Linear(4, 2))
    network[1].requires_grad_(False)
    assert figures(network, side=3)["parameters"] == 10


def test_training_memory_by_hand() -> None:
    """Most is held while the images are normalised: minus the mean, then by the deviation."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    found = figures(network, side=3, batch_size=1000)
    weights, statistics, images = 4 * 40, 4 * 2, 4 * 1000 * 9
    assert found["train_memory"] == 2 * images + weights + statistics


def test_training_memory_grows_with_the_batch_and_is_the_same_each_time() -> None:
    network = arches.create("lenet_fc", "td", 1)
    sizes = [figures(network, batch_size=size)["train_memory"] for size in (8, 8, 16)]
    assert sizes[0] == sizes[1]
    assert 1.8 < sizes[2] / sizes[0] < 2


def test_flops_are_of_one_image() -> None:
    network = arches.create("lenet_fc", "bu", 1)
    small, large = (figures(network, batch_size=size)["flops"] for size in (1, 9))
    assert small == large


class Slow(nn.Module):
    """Takes 10 ms for a batch."""

    gradients: ClassVar[set[bool]] = set()  # of all copies

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 4)

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            self.gradients.add(torch.is_grad_enabled())
        time.sleep(0.01)
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def test_images_per_second_of_a_network_of_known_speed() -> None:
    Slow.gradients.clear()
    found = figures(Slow(), side=3, batch_size=20, seconds=0.1)
    assert 500 < found["images_per_second"] <= 2000
    assert Slow.gradients == {False}


def test_the_network_is_left_as_it_was() -> None:
    network = arches.create("lenet_fc", "td", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    figures(network)
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_every_figure_is_declared() -> None:
    measure = base.load("efficiency")
    assert measure.exclusive, "timings share the machine with nobody"
    found = figures(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), side=3, batch_sizes=[2, LARGEST])
    assert {name.partition("[")[0] for name in found} <= set(measure.metrics)
    headlines = [name for name, info in measure.metrics.items() if info.headline]
    assert headlines == ["parameters", "flops", "train_memory", "images_per_second"]


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 0},
        {"seconds": 0},
        {"batch_size": 2.5},
        {"batchsize": 3},
        {"batch_sizes": [0]},
        {"batch_sizes": ["small"]},
        {"modes": []},
        {"modes": ["fast"]},
        {"modes": [{"precision": "fp8"}]},
        {"modes": ["default", {"precision": "fp32"}]},
        {"resident": "yes"},
    ],
)
def test_options_are_checked(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(given)


def test_macs_activations_and_memory_by_hand() -> None:
    """A convolution with bias, batch normalisation and a ReLU on 8 x 8 pixels; 10 images."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
    )
    found = figures(network, side=8, batch_size=10)
    macs = 64 * 4 * 9 + 256 * 3
    assert found["flops"] == 2 * macs
    assert found["macs"] == macs + 2 * 256  # a scale and a shift for each element
    assert found["activations"] == 256 + 3
    weights = 4 * (4 * 9 + 4 + 4 * 4 + 256 * 3 + 3 + 2) + 8  # int64: the batches seen
    maps, normalised = 4 * 10 * 256, 4 * 10 * 64
    # Two maps at a time, and the normalised images, which the caller holds.
    assert found["inference_memory"] == weights + 2 * maps + normalised
    # Training keeps what went into the convolution, the normalisation and the last layer; the most
    # is there when the ReLU hands a gradient on: that, its own, and those of the last layer.
    gradients = 4 * (256 * 3 + 3)
    assert found["train_memory"] == pytest.approx(
        weights + normalised + 2 * maps + 2 * maps + gradients, rel=0.005
    )


def test_inference_holds_less_than_training() -> None:
    found = figures(arches.create("lenet_fc", "td", 1), batch_size=32)
    assert 0 < found["inference_memory"] < found["train_memory"]
    assert found["train_parameters"] == found["parameters"]


def test_the_tails_of_a_latency_need_samples() -> None:
    """10 / (1 - q) of them, so that ten lie beyond the quantile."""
    assert [timing.needed(q) for q in (0.5, 0.95, 0.99)] == [20, 200, 1000]
    few = timing.latencies([0.001] * 199)
    assert set(few) == {"latency", "latency_iqr", "latency_samples"}
    assert "latency_p95" in timing.latencies([0.001] * 200)
    many = timing.latencies([n / 1000 for n in range(1, 1001)])
    assert many["latency"] == pytest.approx(500.5)
    assert many["latency_iqr"] == pytest.approx(499.5)
    assert many["latency_p95"] == pytest.approx(950.05)
    assert many["latency_p99"] == pytest.approx(990.01)
    assert many["latency_samples"] == 1000


def test_rates_are_medians_with_their_spread() -> None:
    median, spread = timing.rates([0.1, 0.2, 0.4, 0.5, 0.8], 8)
    assert (median, spread) == (pytest.approx(20), pytest.approx(40 - 16))


def test_latency_is_of_one_image() -> None:
    found = figures(Slow(), side=3, batch_size=20, seconds=0.1)
    assert 10 <= found["latency"] < 50
    assert found["latency_samples"] >= 5
    assert found["latency_iqr"] >= 0


def test_throughput_at_given_batches_and_at_the_largest() -> None:
    found = figures(Slow(), side=3, batch_sizes=[1, 10, LARGEST], limit=40, seconds=0.05)
    assert found["largest_batch"] == found["batch_size[largest]"] == 40
    rates = [found[f"images_per_second[{batch}]"] for batch in (1, 10, LARGEST)]
    assert rates == sorted(rates)
    assert 300 < rates[1] <= 1000
    assert found["batch_size[10]"] == 10
    assert "images_per_second_iqr[largest]" in found


class Greedy(Slow):
    """Has memory for so many images at most, and says so as CUDA does."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room, self.error = room, error

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.room and images.device.type != "meta":
            raise self.error
        return super().forward(images)


CUDA_SAYS = torch.cuda.OutOfMemoryError("CUDA out of memory.")
CPU_SAYS = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


CUDNN_SAYS = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


@pytest.mark.parametrize("error", [CUDA_SAYS, CPU_SAYS, CUDNN_SAYS, MemoryError()])
def test_a_batch_backs_off_where_memory_runs_out_and_says_so(error: Exception) -> None:
    found = figures(Greedy(6, error), side=3, batch_size=20, batch_sizes=[LARGEST], limit=64)
    assert found["batch_size"] == 5  # 20, 10, 5
    assert found["asked_batch_size"] == 20
    assert found["largest_batch"] == 4  # 64, 32, ... 4
    assert found["images_per_second"] <= 5 / 0.01


def test_energy_is_that_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that draws 10 W: what it takes for an image is 10 W over the images a second."""
    monkeypatch.setattr(sensors, "energy_counter", lambda *where: lambda: 10 * time.perf_counter())
    found = figures(Slow(), side=3, batch_size=20, seconds=0.6)
    assert found["energy_per_image"] == pytest.approx(10 / found["images_per_second"], rel=0.3)
    monkeypatch.setattr(sensors, "energy_counter", lambda *where: None)
    assert "energy_per_image" not in figures(Slow(), side=3, seconds=0.6)


def test_a_frozen_network_has_no_backward_pass() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4)).requires_grad_(False)
    found = figures(network, side=3)
    assert found["train_memory"] == found["inference_memory"]
    assert found["parameters"] == 0


def test_not_even_one_image() -> None:
    with pytest.raises(BenchError, match="not even one image fits"):
        figures(Greedy(0, CUDA_SAYS).eval(), side=3)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="a layer is broken"):
        figures(Greedy(2, RuntimeError("a layer is broken")), side=3)


def test_the_search_for_the_largest_starts_where_main_memory_suffices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux ends a process that takes too much: what would is not tried."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    # Images, those less the mean, those divided, twice at once; 3 x 36 bytes and the logits.
    monkeypatch.setattr(main_memory, "available", lambda: 2 * 3 * 36 * 40.0)
    found = figures(network, side=3, batch_sizes=[LARGEST], limit=1000)
    assert found["largest_batch"] in (15, 31)


def test_batches_that_main_memory_has_no_room_for_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither for times, nor where memory is that of a real pass; and what was tried is said."""
    network = Reads()
    each = 4 * 9  # bytes of an image of 3 x 3 pixels, of which several copies are held
    monkeypatch.setattr(main_memory, "available", lambda: 64.0 * each)
    found = figures(network, side=3, batch_size=1024, batch_sizes=[512, 4])
    for name in ("batch_size", "batch_size[512]", "train_batch_size", "inference_batch_size"):
        assert 4 <= found[name] < 64, name
    assert found["batch_size[4]"] == 4
    monkeypatch.setattr(main_memory, "available", lambda: None)  # nobody knows how much there is
    found = figures(network, side=3, batch_size=1024)
    assert found["batch_size"] == found["train_batch_size"] == 1024


def test_modes_are_cells_with_names_and_the_first_has_the_counts() -> None:
    given = {"modes": ["default", {"precision": "bf16", "channels_last": True}, {"compile": True}]}
    items = efficiency.items(options(**given))
    assert [item.label for item in items] == [None, "bf16+channels_last", "compile"]
    assert [item.options.counts for item in items] == [True, False, False]
    network = arches.create("lenet_fc", "bu", 1)
    plain, half = (figures(network, place=place, **given) for place in (0, 1))
    counts = {"parameters", "train_parameters", "flops", "macs", "activations"}
    assert counts <= set(plain)
    assert not counts & set(half)
    assert {"images_per_second", "latency", "train_memory"} <= set(half)
    # Half as many bytes to a number, but for images and what stays in float32.
    assert 0.5 < half["train_memory"] / plain["train_memory"] < 0.85


def test_a_single_default_mode_is_the_measure_itself() -> None:
    (item,) = efficiency.items(Options())
    assert item.label is None
    assert item.options.counts


def test_the_order_of_batches_is_no_other_wish() -> None:
    one, two = (
        efficiency.items(Options.model_validate({"batch_sizes": sizes}))[0].key
        for sizes in ([8, LARGEST, 1], [1, 8, LARGEST, 8])
    )
    assert one == two


class Layout(nn.Module):
    """Notes the layouts and types that it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3)
        self.seen = set[tuple[bool, bool, torch.dtype]]()

    def __deepcopy__(self, memo: dict[int, Any]) -> Layout:
        twin = Layout()
        twin.seen = self.seen
        return twin

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer(images)
        if images.device.type == "cpu" and len(images) > 2:
            kernels = self.layer.weight.is_contiguous(memory_format=torch.channels_last)
            layout = maps.is_contiguous(memory_format=torch.channels_last)
            self.seen.add((kernels, layout, maps.dtype))
        return torch.as_tensor(maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("default", (False, False, torch.float32)),
        ({"channels_last": True}, (True, True, torch.float32)),
        ({"precision": "bf16"}, (False, False, torch.bfloat16)),
        ({"precision": "fp16"}, (False, False, torch.float16)),
    ],
)
@pytest.mark.parametrize("trained", [torch.channels_last, torch.contiguous_format])
def test_modes_are_what_they_say_however_the_network_was_trained(
    mode: Any, expected: tuple[bool, bool, torch.dtype], trained: torch.memory_format
) -> None:
    network = Layout().to(memory_format=trained)  # type: ignore[call-overload]
    figures(network, side=8, modes=[mode])
    # A layout of one channel is both.
    assert {seen[1:] for seen in network.seen} == {expected[1:]}


@pytest.mark.slow
def test_a_compiled_network_is_timed() -> None:
    found = figures(arches.create("lenet_fc", "td", 1), modes=[{"compile": True}])
    assert found["images_per_second"] > 0
    assert "train_memory" not in found
    assert found["parameters"] == 14_452


def test_resident_memory_of_a_fresh_process_by_hand() -> None:
    """A layer of 12,288 x 512 numbers and 4,096 images: what is large can be counted."""
    waste = torch.ones(64 << 20)  # what this process has held before is not counted
    del waste
    network = nn.Sequential(nn.Flatten(), nn.Linear(4096, 1024, bias=False))
    found = figures(network, side=64, batch_size=4096, resident=True)
    weights, images, maps = 4 * 4096 * 1024, 4 * 4096 * 4096, 4 * 4096 * 1024
    # Images less the mean, and those divided by the deviation; then these and the map.
    assert found["inference_memory"] == pytest.approx(2 * images + weights, rel=0.001)
    assert found["inference_memory_resident"] == pytest.approx(2 * images + weights, rel=0.15)
    # Training keeps the divided images for the gradient of the weights.
    assert found["train_memory"] == pytest.approx(2 * images + weights, rel=0.001)
    assert found["train_memory_resident"] == pytest.approx(
        max(2 * images, images + maps + weights) + weights, rel=0.15
    )


def test_a_network_that_cannot_be_sent_has_no_resident_memory() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    network.register_forward_hook(lambda module, inputs, output: None)
    found = figures(network, side=3, resident=True)
    assert "train_memory_resident" not in found
    assert found["train_memory"] > 0


class Reads(nn.Module):
    """Reads a value while it runs, so that shapes alone do not do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 4)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.layer(flat if flat.sum().item() > -1e9 else flat + 1)  # type: ignore[no-any-return]


def test_networks_that_read_values_are_counted_all_the_same() -> None:
    found = figures(Reads(), side=3)
    assert found["macs"] == found["flops"] / 2 == 9 * 4
    assert found["train_memory"] > 0


def test_switches_are_put_back() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        figures(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), side=3)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


class Noting(nn.Linear):
    """Notes PyTorch's switches whenever it predicts."""

    seen: ClassVar[set[tuple[bool, ...]]] = set()

    def forward(self, images: Tensor) -> Tensor:
        cudnn = torch.backends.cudnn
        self.seen.add((cudnn.benchmark, cudnn.allow_tf32))
        return super().forward(images)


def test_speed_does_not_depend_on_how_the_training_computed() -> None:
    Noting.seen.clear()
    for mode in ("deterministic", "fast"):
        with numerics(mode, CPU):  # type: ignore[arg-type]
            figures(nn.Sequential(nn.Flatten(), Noting(9, 4)), side=3)
    assert Noting.seen == {(True, True)}


GPU = torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", {"precision": "fp16", "channels_last": True}])
def test_figures_of_a_gpu(mode: Any) -> None:
    network = arches.create("lenet_fc", "td", 1)
    found = figures(
        network, device=GPU, modes=[mode], batch_size=256, batch_sizes=[LARGEST], limit=512
    )
    for kind in ("train", "inference"):
        allocated, reserved = (found[f"{kind}_memory_{part}"] for part in ("allocated", "reserved"))
        assert 0 < allocated <= reserved
        # cuDNN has scratch space and blocks are rounded up; nothing is missing.
        assert found[f"{kind}_memory"] * 0.8 < allocated
        assert found[f"{kind}_batch_size[allocated]"] == 256
    assert found["latency"] > 0
    assert found["largest_batch"] == 512
    assert found["images_per_second"] > found["images_per_second[largest]"] / 10
    on_cpu = figures(network, modes=[mode], batch_size=256)
    for name in ("parameters", "flops", "macs", "activations"):
        assert found[name] == on_cpu[name]
    if mode == "default":
        assert found["train_memory"] == on_cpu["train_memory"]


@pytest.mark.gpu
def test_allocated_memory_of_a_gpu_by_hand() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4096, 1024, bias=False))
    found = figures(network, side=64, batch_size=4096, device=GPU)
    weights, images = 4 * 4096 * 1024, 4 * 4096 * 4096
    assert found["inference_memory_allocated"] == pytest.approx(2 * images + weights, rel=0.1)


@pytest.mark.gpu
def test_a_gpu_that_is_full_backs_off() -> None:
    free, _ = torch.cuda.mem_get_info()
    wide = 4096 * 4
    # Every image asks for so much that not 64 of them fit.
    each = free / 48
    network = nn.Sequential(nn.Flatten(), Wide(math.ceil(each / wide)))
    found = figures(network, side=64, batch_size=64, device=GPU)
    assert found["batch_size"] < 64
    assert found["inference_batch_size[allocated]"] < 64


class Wide(nn.Module):
    """Copies its input so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images.repeat(1, self.times)[:, :4] * self.weight


@pytest.mark.gpu
def test_a_compiled_network_on_a_gpu() -> None:
    network = arches.create("lenet_fc", "bu", 1)
    found = figures(network, modes=[{"compile": True, "precision": "bf16"}], device=GPU)
    assert found["images_per_second"] > 0
    assert found["train_memory_allocated"] > 0


def test_a_chatty_module_does_not_disturb_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from torch import nn\nprint('hello')\nclass Loud(nn.Linear):\n    pass\n"
    (tmp_path / "loud_nets.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    from loud_nets import Loud  # type: ignore[import-not-found]

    for _ in range(2):
        network = nn.Sequential(nn.Flatten(), Loud(9, 4))
        found = figures(network, side=3, batch_size=5000, resident=True)
        assert 0 < found["inference_memory_resident"] < 1e8


@pytest.mark.parametrize(("batch", "said"), [(1, "pass of 1 image;"), (2, "pass of 2 images;")])
def test_the_note_counts_images(batch: int, said: str) -> None:
    assert said in efficiency.note(options(batch_size=batch))
