"""What every attack is, as data: `list attacks` reads it, adapters and tests are driven by it.

Nothing heavy is imported. Where a value follows from the library's code, a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from bench.attacks.base import Access
from bench.errors import BenchError, did_you_mean

# Columns of the tables below: name; norm it measures strength or distance in ("-": none); what it
# needs of the network; random, where `*` means that an option decides (RANDOM_WHEN): "yes*" and
# "no*" are what its default says; argument that takes a fixed epsilon ("-": it looks for the
# smallest perturbation itself); predictions per image, and epsilon, at the defaults as measured
# on a small network and 28 x 28 pixels; flags: s slow.
NATIVE = """
single_pixel         L0    decision  yes   -            1000
salt_and_pepper      -     decision  yes   -             300
pointwise            -     decision  yes   -             700
additive_gaussian    -     decision  yes   -             550
additive_uniform     -     decision  yes   -             550
blended_uniform      -     decision  yes   -             800
gaussian_blur        -     decision  no    -             180
contrast_reduction   -     decision  no    -             300
spatial              -     decision  no    -             350
shifts               -     decision  no    -              60
pgd                  Linf  gradient  yes*  epsilon        12
fgsm                 Linf  gradient  no    epsilon         2
autoattack           Linf  gradient  yes   eps          4000  s
"""

FOOLBOX = """
BinarySearchContrastReductionAttack                 -     decision  no    -          16
BoundaryAttack                                      L2    decision  yes   -       30000  s
DDNAttack                                           L2    gradient  no    -         101
DatasetAttack                                       -     decision  yes   -           3
EADAttack                                           L1    gradient  no    -       40000  s
GaussianBlurAttack                                  -     decision  no    -        1002  s
GenAttack                                           Linf  score     yes   epsilon 10000  s
HopSkipJumpAttack                                   L2    decision  yes   -       35000  s
InversionAttack                                     -     decision  no    -           1
L0BrendelBethgeAttack                               L0    gradient  yes   -        1000  s
L0FMNAttack                                         L0    gradient  no    -         101
L1AdamBasicIterativeAttack                          L1    gradient  no*   epsilon    11
L1AdamProjectedGradientDescentAttack                L1    gradient  yes*  epsilon    51
L1BasicIterativeAttack                              L1    gradient  no*   epsilon    11
L1BrendelBethgeAttack                               L1    gradient  yes   -        1000  s
L1FMNAttack                                         L1    gradient  no    -         101
L1FastGradientAttack                                L1    gradient  no*   epsilon     2
L1MomentumIterativeFastGradientMethod               L1    gradient  no*   epsilon    11
L1ProjectedGradientDescentAttack                    L1    gradient  yes*  epsilon    51
L2AdamBasicIterativeAttack                          L2    gradient  no*   epsilon    11
L2AdamProjectedGradientDescentAttack                L2    gradient  yes*  epsilon    51
L2AdditiveGaussianNoiseAttack                       L2    decision  yes   epsilon     1
L2AdditiveUniformNoiseAttack                        L2    decision  yes   epsilon     1
L2BasicIterativeAttack                              L2    gradient  no*   epsilon    11
L2BrendelBethgeAttack                               L2    gradient  yes   -        1000  s
L2CarliniWagnerAttack                               L2    gradient  no    -       23000  s
L2ClippingAwareAdditiveGaussianNoiseAttack          L2    decision  yes   epsilon     1
L2ClippingAwareAdditiveUniformNoiseAttack           L2    decision  yes   epsilon     1
L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack  L2    decision  yes   epsilon   102
L2ClippingAwareRepeatedAdditiveUniformNoiseAttack   L2    decision  yes   epsilon   102
L2ContrastReductionAttack                           L2    decision  no    epsilon     1
L2DeepFoolAttack                                    L2    gradient  no    -          93
L2FMNAttack                                         L2    gradient  no    -         101
L2FastGradientAttack                                L2    gradient  no*   epsilon     2
L2MomentumIterativeFastGradientMethod               L2    gradient  no*   epsilon    11
L2ProjectedGradientDescentAttack                    L2    gradient  yes*  epsilon    51
L2RepeatedAdditiveGaussianNoiseAttack               L2    decision  yes   epsilon   102
L2RepeatedAdditiveUniformNoiseAttack                L2    decision  yes   epsilon   102
LInfFMNAttack                                       Linf  gradient  no    -         101
LinearSearchBlendedUniformNoiseAttack               -     decision  yes   -         947  s
LinearSearchContrastReductionAttack                 -     decision  no    -        1001  s
LinfAdamBasicIterativeAttack                        Linf  gradient  no*   epsilon    11
LinfAdamProjectedGradientDescentAttack              Linf  gradient  yes*  epsilon    51
LinfAdditiveUniformNoiseAttack                      Linf  decision  yes   epsilon     1
LinfBasicIterativeAttack                            Linf  gradient  no*   epsilon    11
LinfDeepFoolAttack                                  Linf  gradient  no    -          93
LinfFastGradientAttack                              Linf  gradient  no*   epsilon     2
LinfMomentumIterativeFastGradientMethod             Linf  gradient  no*   epsilon    11
LinfProjectedGradientDescentAttack                  Linf  gradient  yes*  epsilon    41
LinfRepeatedAdditiveUniformNoiseAttack              Linf  decision  yes   epsilon   102
LinfinityBrendelBethgeAttack                        Linf  gradient  yes   -        1000  s
NewtonFoolAttack                                    L2    gradient  no    -         101
PointwiseAttack                                     L2    decision  yes   -        3665  s
SaltAndPepperNoiseAttack                            L2    decision  yes   -        1002  s
SparseL1DescentAttack                               L1    gradient  no*   epsilon    11
SpatialAttack                                       -     decision  no*   -          92
VirtualAdversarialAttack                            L2    gradient  yes   epsilon    12
"""

TORCHATTACKS = """
APGD        Linf  gradient  yes   eps           13
APGDT       Linf  gradient  yes   eps           70  s
BIM         Linf  gradient  no    eps           10
CW          L2    gradient  no    -             50
DIFGSM      Linf  gradient  yes   eps           10
DeepFool    L2    gradient  no    -             35
EADEN       L1    gradient  no    -            380  s
EADL1       L1    gradient  no    -            380  s
EOTPGD      Linf  gradient  yes*  eps           20
FAB         Linf  gradient  no    eps           24
FFGSM       Linf  gradient  yes   eps            1
FGSM        Linf  gradient  no    eps            1
GN          -     decision  yes   std            0
JSMA        L0    gradient  no    -             50  s
Jitter      Linf  gradient  yes   eps           10
MIFGSM      Linf  gradient  no    eps           10
NIFGSM      Linf  gradient  no    eps           10
OnePixel    L0    score     yes   pixels        150
PGD         Linf  gradient  yes*  eps           10
PGDL2       L2    gradient  yes*  eps           10
PGDRS       Linf  gradient  yes   eps           50
PGDRSL2     L2    gradient  yes   eps           50
PIFGSM      Linf  gradient  no    max_epsilon   10
PIFGSMPP    Linf  gradient  no    max_epsilon   10
Pixle       L0    score     yes   -             40
RFGSM       Linf  gradient  yes   eps           10
SINIFGSM    Linf  gradient  no    eps           50
SPSA        Linf  score     yes   eps          256
SparseFool  L0    gradient  no    -            100  s
Square      Linf  score     yes   eps         2000  s
TIFGSM      Linf  gradient  yes   eps           10
TPGD        Linf  gradient  yes   eps           11
UPGD        Linf  gradient  no*   eps           10
VMIFGSM     Linf  gradient  yes   eps           60
VNIFGSM     Linf  gradient  yes   eps           60
"""

# An option and the value at which an attack draws random numbers.
RANDOM_WHEN = {"random_start": True, "grid_search": False}

GRIDS = {
    "Linf": tuple(2**k / 255 for k in range(6)),
    "L2": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "L1": (2.0, 4.0, 8.0, 16.0, 32.0, 64.0),
    "pixels": (1.0, 2.0, 4.0, 8.0),
    "std": (0.05, 0.1, 0.2, 0.4),
}

# Names under which foolbox offers the same class once more.
ALIASES = {
    "AdamPGD": "LinfAdamProjectedGradientDescentAttack",
    "FGM": "L2FastGradientAttack",
    "FGSM": "LinfFastGradientAttack",
    "L1AdamPGD": "L1AdamProjectedGradientDescentAttack",
    "L1PGD": "L1ProjectedGradientDescentAttack",
    "L2AdamPGD": "L2AdamProjectedGradientDescentAttack",
    "L2PGD": "L2ProjectedGradientDescentAttack",
    "LinfAdamPGD": "LinfAdamProjectedGradientDescentAttack",
    "LinfPGD": "LinfProjectedGradientDescentAttack",
    "MIFGSM": "LinfMomentumIterativeFastGradientMethod",
    "PGD": "LinfProjectedGradientDescentAttack",
}

CHANNELS = {
    "torchattacks:TIFGSM": (3,),
    "torchattacks:PIFGSM": (3,),
    "torchattacks:PIFGSMPP": (3,),
}

# Their losses compare with the fourth most likely class.
CLASSES = {"torchattacks:APGDT": 4, "autoattack": 4}

# Values of arguments that a class needs and has no default for.
NEEDED: Mapping[str, Mapping[str, object]] = {"foolbox:VirtualAdversarialAttack": {"steps": 10}}

PACKAGES = {
    f"foolbox:{norm}BrendelBethgeAttack": "numba" for norm in ("L0", "L1", "L2", "Linfinity")
}

NOTES = {
    "foolbox:BinarySearchContrastReductionAttack": "assumes that success is monotone in contrast",
    "foolbox:DatasetAttack": "takes another image of the batch: batch_size decides",
    "foolbox:GenAttack": "targeted: at the second most likely class",
    "foolbox:LinearSearchBlendedUniformNoiseAttack": "the whole batch until its last image is done",
    "foolbox:PointwiseAttack": "without restarts of its first phase; native: pointwise",
    "foolbox:SpatialAttack": "first hit of its grid; native: spatial, shifts",
    "torchattacks:APGDT": "needs 4 classes or more",
    "torchattacks:CW": "one constant c, no search for it; stops for the whole batch",
    "torchattacks:DeepFool": "lands on the boundary: about half is lost when asked again",
    "torchattacks:GN": "one draw; asks nothing",
    "torchattacks:JSMA": "targeted: at the next class; memory grows with the square of the values",
    "torchattacks:SPSA": "one step of 0.01 by default: raise nb_iter",
    "autoattack": "needs 4 classes or more; the standard version has 5000 queries of Square",
}

REFUSED = {
    "foolbox:BinarizationRefinementAttack": "it fails on networks that do not binarise images",
    "torchattacks:AutoAttack": "it runs its parts with 10 steps in place of 100; use 'autoattack'",
    "torchattacks:LGV": "it trains the network on; it wants training data",
    "torchattacks:MultiAttack": "it joins attacks; name each of them in the suite",
    "torchattacks:VANILA": "it returns the images as they are",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """One attack.

    Attributes:
        name: as in a suite: `gaussian_blur`, `foolbox:L2FMNAttack`.
        norm: "L2", "Linf", "L1", "L0", or "" for none.
        access: "decision", "score" or "gradient".
        deterministic: at the default options.
        optional: whether an option in RANDOM_WHEN decides that.
        strength: the argument that takes a fixed epsilon; "" for minimal-norm attacks.
        evaluations: about how many predictions it spends on an image (and epsilon).
        slow: whether it takes over a second for a few small images.
    """

    name: str
    norm: str
    access: Access
    deterministic: bool
    optional: bool
    strength: str
    evaluations: int
    slow: bool

    @property
    def attack(self) -> str:
        """The name without its library."""
        return self.name.rpartition(":")[2]

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of image channels it takes; empty for any."""
        return CHANNELS.get(self.name, ())

    @property
    def classes(self) -> int:
        """The least number of classes that it needs; 0 for any."""
        return CLASSES.get(self.name, 0)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The default grid; empty for minimal-norm attacks."""
        if not self.strength:
            return ()
        return GRIDS.get(self.strength) or GRIDS[self.norm]

    @property
    def note(self) -> str:
        """What to know about it, or ""."""
        return NOTES.get(self.name, "")


def _read(table: str, library: str = "") -> dict[str, Capability]:
    found = {}
    for line in table.strip().splitlines():
        name, norm, access, random, strength, evaluations, *flags = line.split()
        found[name] = Capability(
            f"{library}:{name}" if library else name,
            norm.strip("-"),
            cast(Access, access),
            random.startswith("no"),
            random.endswith("*"),
            strength.strip("-"),
            int(evaluations),
            "s" in flags,
        )
    return found


LIBRARIES: Mapping[str, Mapping[str, Capability]] = {
    "foolbox": _read(FOOLBOX, "foolbox"),
    "torchattacks": _read(TORCHATTACKS, "torchattacks"),
}
BUILT_IN: Mapping[str, Capability] = _read(NATIVE)


def find(library: str, attack: str) -> Capability:
    """The attack of a library by its class name or alias.

    Raises:
        BenchError: no such attack, or one that cannot be supported; the message says why.
    """
    refused = REFUSED.get(f"{library}:{attack}")
    if refused:
        raise BenchError(f"attack '{library}:{attack}' is not supported: {refused}")
    known = LIBRARIES[library]
    name = ALIASES.get(attack, attack) if library == "foolbox" else attack
    if name not in known:
        names = [*known, *ALIASES] if library == "foolbox" else list(known)
        near = did_you_mean(attack, names)
        raise BenchError(f"{library} has no attack '{attack}' that is known here{near}")
    return known[name]
