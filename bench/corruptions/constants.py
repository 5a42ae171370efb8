"""Published constants of the corruptions, by severity and size of image.

They are the authors' (github.com/hendrycks/robustness, ImageNet-C/create_c): of CIFAR-10-C (images
of 32 pixels, make_cifar_c.py), of ImageNet-64x64-C (make_imagenet_64_c.py) and of ImageNet-C (224
pixels, make_imagenet_c.py). Images of another size take those of one of these, as they are: up to
48 pixels of the first, up to 119 (by ratio nearer to 64) of the second. Lengths in pixels are not
scaled, save for the elastic transform, where the authors themselves scale. So 28 and 32 pixels are
corrupted as CIFAR-10-C, 128 and 160 as ImageNet-C.
"""

from __future__ import annotations

from typing import Any, Final

# Sides up to which the first and the second column of `_TABLE` are for.
SMALL_SIDE: Final = 48
MEDIUM_SIDE: Final = 119

# The authors' elastic transform of ImageNet-C takes 244 for the side of 224 pixels.
_244: Final = 244 / 224

Settings = tuple[Any, Any, Any, Any, Any]

# (32 pixels, 64 pixels, 224 pixels), of severity 1 to 5 each.
_TABLE: Final[dict[str, tuple[Settings, Settings, Settings]]] = {
    # Standard deviation.
    "gaussian_noise": (
        (0.04, 0.06, 0.08, 0.09, 0.10),
        (0.04, 0.08, 0.12, 0.15, 0.18),
        (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    # Photons that make white.
    "shot_noise": ((500, 250, 100, 75, 50), (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    # Share of values replaced.
    "impulse_noise": (
        (0.01, 0.02, 0.03, 0.05, 0.07),
        (0.01, 0.02, 0.05, 0.08, 0.14),
        (0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    # Radius of the disk, standard deviation of its anti-aliasing; pixels.
    "defocus_blur": (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    # Standard deviation of the blur, reach of the shuffle (both pixels), times shuffled.
    "glass_blur": (
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    # Radius and standard deviation of the kernel; pixels.
    "motion_blur": (
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    # End (open) and step of the zoom factors, which start at 1.
    "zoom_blur": (
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    # Mean and deviation of the flakes' noise, its zoom, threshold; radius and deviation (pixels)
    # of the motion blur; share of the image that is not whitened.
    "snow": (
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    # Share of the image, share of the frost.
    "frost": (
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    # Share of the fog, decay of its roughness.
    "fog": (
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    # Added to the value of HSV.
    "brightness": (
        (0.05, 0.1, 0.15, 0.2, 0.3),
        (0.1, 0.2, 0.3, 0.4, 0.5),
        (0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    # Share of the deviation from the mean that is left.
    "contrast": (
        (0.75, 0.5, 0.4, 0.3, 0.15),
        (0.4, 0.3, 0.2, 0.1, 0.05),
        (0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    # Length of the displacements before they are smoothed, deviation of the smoothing, largest
    # shift of the affine map's corners; all as shares of the side.
    "elastic_transform": (
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        (
            (2 * _244, 0.7 * _244, 0.1 * _244),
            (2 * _244, 0.08 * _244, 0.2 * _244),
            (0.05 * _244, 0.01 * _244, 0.02 * _244),
            (0.07 * _244, 0.01 * _244, 0.02 * _244),
            (0.12 * _244, 0.01 * _244, 0.02 * _244),
        ),
    ),
    # Share of the side that is left.
    "pixelate": (
        (0.95, 0.9, 0.85, 0.75, 0.65),
        (0.9, 0.8, 0.7, 0.6, 0.5),
        (0.6, 0.5, 0.4, 0.3, 0.25),
    ),
    # Quality, 1 to 100.
    "jpeg_compression": ((80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
}


def constant(name: str, severity: int, side: int) -> Any:
    """A corruption's constant, or tuple of constants, for images of that shorter side in pixels."""
    column = 0 if side <= SMALL_SIDE else 1 if side <= MEDIUM_SIDE else 2
    return _TABLE[name][column][severity - 1]
