"""Whether claims are about anything that there is.

What can never fit is a mistake. A suite's own list has to be about this suite's networks and
measures; a file may be shared with other suites, so that what these may have is only told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from bench.errors import did_you_mean
from bench.models import backbones
from bench.plan.claimable import ATTACKED, Measured, kinds, measured, registered
from bench.plan.gate import titled
from bench.plan.globs import meet
from bench.plan.other_suites import OtherSuites, other_suites
from bench.suite.claims import KEY, VARIANTS, ClaimKeys, each_claim, read_claims
from bench.suite.schema import BackboneRef, MeasureRef
from bench.suite.yaml_tree import Problem, Step, Tree

# Of top-down networks; inputs of more than three scales are called by their factor.
_INPUTS = ("high", "medium", "low", "scale[0-9]*")


@dataclass(frozen=True, slots=True)
class CheckedClaims:
    """Claims, what is wrong with them, and a sentence on each claim with entries that fit nothing
    here."""

    claims: tuple[ClaimKeys, ...] = ()
    problems: tuple[Problem, ...] = ()
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimsCheck:
    """The claims of a suite against what it has.

    `tree` is the suite and `base` the folder that paths in it start from; `nets` are its
    `dataset/backbone/variant` (empty: not known, and not checked).
    """

    tree: Tree
    base: Path
    nets: Sequence[str]
    refs: Sequence[BackboneRef]
    measures: Sequence[MeasureRef]

    def __call__(self) -> CheckedClaims:
        """Read and check them. In `against`, a backbone that is called by its name in the registry
        gets the label that it has in this suite."""
        claims, problems, source = read_claims(self.tree, self.base)
        notes: list[str] = []
        for index, claim in each_claim(source):
            absent: dict[str, list[str]] = {}
            for key, entry, where, wrong in self._misfits(index, claim, source):
                if wrong:
                    problems = [*problems, source.problem(where, wrong)]
                else:
                    absent.setdefault(key, []).append(f"'{entry}'")
            if absent:
                listed = "; ".join(f"{key} {', '.join(found)}" for key, found in absent.items())
                notes.append(f"claim {index + 1}: nothing here fits {listed}")
            if not claim.inputs and len(kinds(claim.numbers, self._titled)) > 1:
                wrong = "percentages and numbers of other units have no mean: write a claim of each"
                problems = [*problems, source.problem((KEY, index, "numbers"), wrong)]
        found = (
            claim.model_copy(update={"against": tuple(self._labelled(claim))}) for claim in claims
        )
        return CheckedClaims(tuple(found), tuple(problems), tuple(notes))

    def _misfits(
        self, index: int, claim: ClaimKeys, source: Tree
    ) -> Iterator[tuple[str, str, tuple[Step, ...], str]]:
        """Key, entry, place, and what is wrong with it; "" if it may fit elsewhere."""
        own = source is self.tree
        checks = {"nets": self._net, "against": self._rival, "numbers": self._number}
        for key, check in (checks | {"inputs": self._input}).items():
            listed = isinstance(source.data[KEY][index].get(key), list)  # type: ignore[index]
            for number, entry in enumerate(getattr(claim, key)):
                wrong = check(claim, entry, own)
                if wrong is not None:
                    yield key, entry, (KEY, index, key, *([number] if listed else [])), wrong

    def _net(self, claim: ClaimKeys, entry: str, own: bool) -> str | None:
        if not self.nets or any(fnmatchcase(net, entry) for net in self.nets):
            return None
        if not own and any(meet(entry, f"*/*/{variant}") for variant in VARIANTS):
            return ""
        return f"'{entry}' fits no dataset/backbone/variant, such as '{self.nets[0]}'"

    def _rival(self, claim: ClaimKeys, entry: str, own: bool) -> str | None:
        names = self._of_suite(entry)
        if (
            not self.nets
            or claim.inputs
            or any(net.endswith(f"/{name}") for net in self.nets for name in names)
        ):
            return None
        backbone, labels = entry.rpartition("/")[0], [ref.label for ref in self.refs]
        known = {*labels, *(ref.name for ref in self.refs)}
        if not backbone or backbone in known:
            return ""
        if own:
            return f"no backbone '{backbone}' in this suite{did_you_mean(backbone, labels)}"
        known |= {*backbones.REGISTRY.entries, *self._others.backbones}
        if backbone in known or backbones.is_foreign(backbone):
            return ""
        near = did_you_mean(backbone, known)
        return f"no backbone '{backbone}' in this suite, nor in one beside it{near}"

    def _number(self, claim: ClaimKeys, entry: str, own: bool) -> str | None:
        # With "weakest input" it is the attack that counts, whichever number of it is named.
        weakest = claim.expect == "weakest input"
        family = f"{ATTACKED}/" if weakest else ""
        measure = entry.rpartition("/")[0]
        pattern = f"{measure}/loss" if weakest else entry

        def fits(numbers: Sequence[str]) -> bool:
            return any(meet(pattern, one) for one in numbers if one.startswith(family))

        if not self._titled or fits(self._here):
            return None
        names = [name for _, found in self._titled for name in found]
        if own and not any(fnmatchcase(name, measure) for name in names):
            return f"'{entry}' is of no measure of this suite; it has {', '.join(names)}"
        if fits(self._anywhere):
            return ""
        plain = [one for one in {*self._here, *self._anywhere} if "*" not in one]
        return f"'{entry}' is no number that a measure gives{did_you_mean(entry, plain)}"

    def _input(self, claim: ClaimKeys, entry: str, own: bool) -> str | None:
        """Which inputs a network has shows when it is built; one's own may have any."""
        if not self.nets or any(backbones.is_plugin(ref.name) for ref in self.refs):
            return None
        about = (net for net in self.nets if any(fnmatchcase(net, glob) for glob in claim.nets))
        inverted = any(not net.endswith("/bu") for net in about)
        return None if inverted and any(fnmatchcase(entry, name) for name in _INPUTS) else ""

    def _of_suite(self, entry: str) -> list[str]:
        """An entry of `against` with the labels that its backbone has here."""
        backbone, _, variant = entry.rpartition("/")
        if backbone in {ref.label for ref in self.refs}:
            return [entry]
        labels = [ref.label for ref in self.refs if ref.name == backbone]
        return [f"{label}/{variant}" for label in labels] or [entry]

    def _labelled(self, claim: ClaimKeys) -> Iterator[str]:
        yield from dict.fromkeys(name for entry in claim.against for name in self._of_suite(entry))

    @cached_property
    def _titled(self) -> Measured:
        return titled(self.measures)

    @cached_property
    def _here(self) -> list[str]:
        return measured(self._titled)

    @cached_property
    def _others(self) -> OtherSuites:
        """Looked for only where something fits nothing here."""
        said = self.tree.data.get(KEY) if isinstance(self.tree.data, dict) else None
        shared = (self.base / said).parent if isinstance(said, str) else self.base
        return other_suites((self.base, shared))

    @cached_property
    def _anywhere(self) -> list[str]:
        return [*self._here, *registered(self._others.attacks, self._others.measures)]
