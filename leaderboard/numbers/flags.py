"""Signs that a robustness number should not be taken at its word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leaderboard.numbers.curves import by_net
from leaderboard.numbers.rivals import MARGIN, Lead, gain, lead
from leaderboard.numbers.summary import by_seed
from leaderboard.remembered import remembered
from leaderboard.results import AttackInfo, Results, Sample
from leaderboard.rounding import fixed
from leaderboard.text import strength, words

NetName = tuple[str, str]
Values = dict[str, Mapping[int, float]]  # by metric, then seed

_IMAGES = 3  # a share of fewer images than this is left to chance
_UNBOUNDED = 0.5  # L-infinity: any image can become plain grey


@dataclass(frozen=True, slots=True)
class Badge:
    """A sign: its short name, and what it means for the reader."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A badge that a network got: on which attack ("" for any), and what was found.

    A `minor` one is told, but does not keep a number from being the best: it takes nothing from the
    number, is the same for every network, or is of so few images that it may be chance.
    """

    badge: str
    backbone: str
    variant: str
    attack: str
    finding: str
    minor: bool = False


BADGES = {
    "randomised": Badge(
        "randomised",
        "the network's outputs change from one pass to the next: attacks that do not average over "
        "its randomness overrate it",
    ),
    "softmax": Badge(
        "softmax output",
        "the outputs are probabilities and no logits: gradients vanish where they saturate",
    ),
    "zero_gradient": Badge(
        "zero gradient",
        "the gradient of the loss is zero or not finite for some images: gradient attacks get "
        "nowhere there",
    ),
    "gradient_in_forward": Badge(
        "gradient in forward",
        "the network computes gradients while it predicts, like a defence that optimises: attacks "
        "must be adapted to it",
    ),
    "square": Badge(
        "Square gains",
        f"the Square attack, which sees no gradients, fools more than {MARGIN} % of the images "
        "that the gradient attacks do not",
    ),
    "one_step": Badge("one step wins", "a one-step attack does better than an iterative one"),
    "black_box": Badge(
        "black box wins",
        "an attack that sees only outputs does better than an iterative one with gradients",
    ),
    "noise": Badge("noise wins", "random noise does better than an iterative gradient attack"),
    "monotone": Badge("not monotone", "accuracy rises as the perturbation may grow"),
    "unbounded": Badge(
        "does not reach 0",
        "an iterative gradient attack leaves images standing although its perturbation is not "
        "bounded (or L∞ 0.5, at which every image can become plain grey): the attack is broken, "
        "or gradients are masked",
    ),
    "lost": Badge(
        "lost on re-check",
        "adversarial images no longer fooled the network in another batch; they count as failures "
        "of the attack",
    ),
    "oversized": Badge(
        "larger than asked for",
        "the attack returned perturbations above the strength that it was to keep to: they do not "
        "count as fooled there, only at the size that they have",
    ),
    "identical": Badge(
        "identical repeats",
        "repeats of the attack came out bit for bit the same, and added nothing",
    ),
    "approximate": Badge(
        "approximate",
        "the attack's search is approximate: some images have closer adversarials than it found",
    ),
}
_OF_METRICS = {
    "randomised": ("randomised", "{:.1f} % of the predictions change"),
    "probabilities": ("softmax", "its outputs sum to 1"),
    "zero_gradient": ("zero_gradient", "{:.1f} % of the images have no gradient"),
    "gradient_in_forward": ("gradient_in_forward", "calls autograd in its forward pass"),
}
_OF_ATTACKS = {
    "lost_on_recheck": ("lost", "up to {:.0f} of a seed's adversarials"),
    "oversized": (
        "oversized",
        "up to {:.0f} of a seed's perturbations were larger than asked for and do not count",
    ),
    "identical_repeats": ("identical", "up to {:.0f} repeats"),
}


def flags(results: Results, dataset: str) -> list[Flag]:
    """All badges on one data set, by network in the order of the rows."""
    known = _by_dataset(results)
    if dataset not in known:
        known[dataset] = _flags(results, dataset)
    return list(known[dataset])


@remembered  # every part of a page asks for them
def _by_dataset(_results: Results) -> dict[str, list[Flag]]:
    return {}


def _flags(results: Results, dataset: str) -> list[Flag]:
    found = []
    by_name = by_net(sample for sample in results.samples if sample.dataset == dataset)
    for (backbone, variant), attacks in _measured(results, dataset).items():
        samples = by_name.get((backbone, variant), [])
        rules = (
            *_of_network(attacks),
            *_of_attacks(attacks, results, samples),
            *_of_rivals(results, samples),
        )
        found += [
            Flag(badge, backbone, variant, attack, text, _is_minor(badge, attacks.get(attack, {})))
            for badge, attack, text in rules
        ]
    return found


def _is_minor(badge: str, values: Values) -> bool:
    if badge == "lost":
        return max(values["lost_on_recheck"].values()) < _IMAGES
    return badge in ("identical", "approximate")


def badges_of(raised: Sequence[Flag], net: NetName) -> list[str]:
    """The names of a network's badges, in their usual order."""
    own = {flag.badge for flag in raised if (flag.backbone, flag.variant) == net}
    return [BADGES[badge].name for badge in BADGES if badge in own]


def unjudged(results: Results, dataset: str) -> list[str]:
    """Badges that no network of this data set could have got, for want of attacks or numbers."""
    attacks = _measured(results, dataset)
    metrics = {metric for by_attack in attacks.values() for v in by_attack.values() for metric in v}
    there = {attack for by_attack in attacks.values() for attack in by_attack}
    there |= {sample.attack for sample in results.samples if sample.dataset == dataset}
    infos = [info for attack, info in results.attacks.items() if attack in there]
    iterative = [info for info in infos if _is_iterative(info)]
    judged = {badge for metric, (badge, _) in (_OF_METRICS | _OF_ATTACKS).items()
              if metric in metrics}  # fmt: skip
    if metrics:  # an approximate search says so
        judged.add("approximate")
    for badge, weaker in _RIVALS.items():
        if iterative and any(map(weaker, infos)):
            judged.add(badge)
    if any(i.norm == s.norm for s in infos if s.kind == "square" for i in iterative):
        judged.add("square")
    if any(len(info.strengths) > 1 for info in infos):
        judged.add("monotone")
    if any(_unbounded(info) for info in iterative):
        judged.add("unbounded")
    return [badge for badge in BADGES if badge not in judged]


def _measured(results: Results, dataset: str) -> dict[NetName, dict[str, Values]]:
    """What was measured by network, attack, metric and seed."""
    nets: dict[NetName, dict[str, Values]] = {}
    for key, seeds in by_seed(results.rows).items():
        family, _, attack = key.measure.partition("/")
        if key.dataset == dataset and family == "robustness":
            values = nets.setdefault((key.backbone, key.variant), {}).setdefault(attack, {})
            values[key.metric] = seeds
    return nets


def _of_network(attacks: dict[str, Values]) -> Iterator[tuple[str, str, str]]:
    for metric, (badge, text) in _OF_METRICS.items():
        worst = max((max(v[metric].values()) for v in attacks.values() if metric in v), default=0.0)
        if worst > 0:
            yield badge, "", text.format(worst)


def _of_attacks(
    attacks: dict[str, Values], results: Results, samples: Sequence[Sample]
) -> Iterator[tuple[str, str, str]]:
    for attack, values in attacks.items():
        for metric, (badge, text) in _OF_ATTACKS.items():
            worst = max(values.get(metric, {}).values(), default=0.0)
            if worst > 0:
                yield badge, attack, text.format(worst)
        images = min((s.l2.size for s in samples if s.attack == attack), default=0)
        least = max(MARGIN, 100.0 * _IMAGES / images - 1e-9) if images else MARGIN
        rise = max(_rises(values), default=(0.0, ""))
        if rise[0] >= least:
            yield "monotone", attack, f"{fixed(rise[0], 1)} points {rise[1]}"
        info = results.attacks.get(attack)
        left, which = _left(values, info) if info is not None else (0.0, "")
        if left >= least:
            text = f"{fixed(left, 1)} % of {which} withstand it in the worst seed"
            yield "unbounded", attack, text
        if "miss_rate" in values:
            rate = fixed(max(values["miss_rate"].values()), 1)
            yield "approximate", attack, f"misses a closer one for {rate} % of images checked"


def _rises(values: Values) -> Iterator[tuple[float, str]]:
    """By how many points the accuracy at an epsilon exceeds that at a smaller one."""
    curves: dict[int, list[tuple[float, float]]] = {}
    for metric, seeds in values.items():
        name, bracket, strength = metric.partition("[")
        if name == "robust_top1" and bracket:
            for seed, value in seeds.items():
                curves.setdefault(seed, []).append((float(strength.rstrip("]")), value))
    for curve in curves.values():
        lowest, at = 100.0, 0.0
        for epsilon, accuracy in sorted(curve):
            yield accuracy - lowest, f"from epsilon {at:g} to {epsilon:g}"
            if accuracy < lowest:
                lowest, at = accuracy, epsilon


def _left(values: Values, info: AttackInfo) -> tuple[float, str]:
    """Percent that an attack without bounds leaves standing, and of what."""
    if not (_is_iterative(info) and _unbounded(info)):
        return 0.0, ""
    if info.strengths:
        strongest = values.get(f"robust_top1[{max(info.strengths):g}]", {})
        return max(strongest.values(), default=0.0), "all images"
    success = min(values.get("success_rate", {}).values(), default=100.0)
    return 100.0 - success, "the images classified correctly"


def _is_iterative(info: AttackInfo) -> bool:
    return info.access == "gradient" and info.kind == "iterative"


def _unbounded(info: AttackInfo) -> bool:
    return not info.strengths or (info.norm == "Linf" and max(info.strengths) >= _UNBOUNDED)


def _is_black_box(info: AttackInfo) -> bool:
    return info.access != "gradient" and info.kind != "noise"


_RIVALS: dict[str, Callable[[AttackInfo], bool]] = {
    "one_step": lambda info: info.kind == "one-step",
    "black_box": _is_black_box,
    "noise": lambda info: info.kind == "noise",
}


def _of_rivals(results: Results, samples: Sequence[Sample]) -> Iterator[tuple[str, str, str]]:
    known = results.attacks
    runs: dict[str, dict[int, Sample]] = {}
    for sample in samples:
        if sample.attack in known:
            runs.setdefault(sample.attack, {})[sample.seed] = sample
    strong = [name for name in runs if _is_iterative(known[name])]
    for weak, seeds in runs.items():
        for badge, is_weaker in _RIVALS.items():
            for name in strong if is_weaker(known[weak]) else ():
                leads = {
                    seed: lead((sample, known[weak]), (runs[name][seed], known[name]))
                    for seed, sample in seeds.items()
                    if seed in runs[name]
                }
                less = f"less than {words(weak)}"
                yield from _told(badge, name, less, known[name].norm, leads)
        if known[weak].kind == "square":
            leads = {}
            for seed, sample in seeds.items():
                others = [(runs[name][seed], known[name]) for name in strong if seed in runs[name]]
                leads[seed] = gain((sample, known[weak]), others)
            more = "more than the gradient attacks"
            yield from _told("square", weak, more, known[weak].norm, leads)


def _told(
    badge: str, attack: str, compared: str, norm: str, leads: Mapping[int, Lead | None]
) -> Iterator[tuple[str, str, str]]:
    found = [lead for lead in leads.values() if lead is not None]
    if found:
        most = max(found, key=lambda lead: lead.points)
        seeds = f"{len(found)} of {len(leads)} seeds"
        size = strength(norm, most.budget)
        yield badge, attack, f"fools {fixed(most.points, 1)} % {compared} at {size} ({seeds})"
