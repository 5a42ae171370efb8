"""What is random in the corruptions: its distribution, and how harm grows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from corruption_parts import flat, pictures

from bench.corruptions.base import NAMES, SEVERITIES, corrupt
from bench.corruptions.draws import Draws
from bench.corruptions.weather import drawn_frost

# (side, published constants) of each noise; sides of the three tables.
DEVIATIONS = {
    32: [0.04, 0.06, 0.08, 0.09, 0.10],
    64: [0.04, 0.08, 0.12, 0.15, 0.18],
    128: [0.08, 0.12, 0.18, 0.26, 0.38],
}
PHOTONS = {32: [500, 250, 100, 75, 50], 64: [250, 100, 50, 30, 15], 128: [60, 25, 12, 5, 3]}
SHARES = {
    32: [0.01, 0.02, 0.03, 0.05, 0.07],
    64: [0.01, 0.02, 0.05, 0.08, 0.14],
    128: [0.03, 0.06, 0.09, 0.17, 0.27],
}
FROST = {
    32: [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    64: [(1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)],
    128: [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
}
by_size = pytest.mark.parametrize("side", [32, 64, 128])
by_severity = pytest.mark.parametrize("severity", SEVERITIES)


def values(name: str, severity: int, side: int, level: int) -> np.ndarray:
    """Some 200,000 corrupted values of one level."""
    count = max(4, 65536 // side**2)
    return corrupt(flat(level, count, 3, side), name, severity, range(count)).double().numpy()


@by_size
@by_severity
def test_gaussian_noise_is_normal(severity: int, side: int) -> None:
    deviation = DEVIATIONS[side][severity - 1]
    found = values("gaussian_noise", severity, side, 128)
    # Where nothing is clipped: the shares below quantiles.
    for quantile in (-1.2, -0.5, 0, 0.5, 1.2):
        limit = 128 / 255 + quantile * deviation
        edge = (np.floor(limit * 255) + 0.5) / 255
        expected = scipy.stats.norm.cdf((edge - 128 / 255) / deviation)
        assert (found < edge).mean() == pytest.approx(expected, abs=0.005)
    assert np.corrcoef(found[:, 0].ravel(), found[:, 1].ravel())[0, 1] == pytest.approx(0, abs=0.02)


@by_size
@by_severity
@pytest.mark.parametrize("level", [0, 1, 40, 200])
def test_shot_noise_counts_photons(severity: int, side: int, level: int) -> None:
    photons = PHOTONS[side][severity - 1]
    found = values("shot_noise", severity, side, level)
    mean = level / 255 * photons
    for count in range(int(scipy.stats.poisson.ppf(0.001, mean)), photons):
        expected = scipy.stats.poisson.cdf(count, mean)
        limit = (np.floor(count / photons * 255 + 0.5) + 0.5) / 255
        if expected > 0.999:
            break
        next_level = np.floor((count + 1) / photons * 255 + 0.5) / 255
        if next_level > limit:  # else two counts round to one level
            assert (found < limit).mean() == pytest.approx(expected, abs=0.006)
    if level == 0:
        assert (found == 0).all()


@by_size
@by_severity
def test_impulse_noise_replaces_a_share(severity: int, side: int) -> None:
    found = values("impulse_noise", severity, side, 100)
    share = SHARES[side][severity - 1]
    assert (found == 0).mean() == pytest.approx(share / 2, abs=0.003)
    assert (found == 1).mean() == pytest.approx(share / 2, abs=0.003)
    assert set(np.round(np.unique(found) * 255)) == {0, 100, 255}


@by_size
@by_severity
def test_frost_is_laid_on_with_the_published_weights(severity: int, side: int) -> None:
    image = pictures(1, 3, side, side)
    ice = drawn_frost(image.double(), Draws(3, "frost", severity, [5]))
    share, weight = FROST[side][severity - 1]
    expected = (share * image.double() + weight * ice).clamp(0, 1)
    found = corrupt(image, "frost", severity, [5], seed=3)
    torch.testing.assert_close(found.double(), expected, atol=0.5 / 255 + 1e-5, rtol=0)


@by_size
@pytest.mark.parametrize("channels", [1, 3])
def test_frost_covers_a_part_in_icy_colours(side: int, channels: int) -> None:
    images = torch.zeros(8, channels, side, side).double()
    ice = drawn_frost(images, Draws(0, "frost", 1, range(8)))
    assert 0 <= float(ice.min()) <= float(ice.max()) <= 1
    assert 0.4 < float(ice.mean()) < 0.8
    assert 0.1 < float(ice.std((1, 2, 3)).mean()) < 0.35
    # Fine crystals, not clouds alone: neighbours differ.
    assert float(ice.diff(dim=-1).abs().mean()) > 0.02
    if channels == 3:
        red, green, blue = ice.unbind(1)
        assert bool((red <= green).all() and (green <= blue).all())
        assert float((blue - red).mean()) > 0.05


# Some published settings trade one constant for another (see the table): they need not hurt more
# from step to step by L2, and those of CIFAR-10-C's elastic transform hurt less.
UNEVEN = {"elastic_transform", "glass_blur", "frost", "motion_blur", "pixelate"}


@pytest.mark.parametrize(
    ("side", "channels"),
    [(28, 1), (32, 3), (64, 3), pytest.param(128, 3, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", NAMES)
def test_harm_grows_with_the_severity(name: str, side: int, channels: int) -> None:
    count = {28: 40, 32: 40, 64: 10, 128: 12}[side]
    images = pictures(count, channels, side, side)
    changes = [corrupt(images, name, s, range(count)) - images for s in SEVERITIES]
    harm = [float(change.square().mean((1, 2, 3)).sqrt().mean()) for change in changes]
    if name in UNEVEN:
        assert 0.01 < min(harm) < max(harm) < 0.3, harm
    else:
        assert harm == sorted(harm), harm
        assert harm[4] > 1.2 * harm[0] > 0.001, harm
