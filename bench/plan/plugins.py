"""Which code of others a plan uses."""

from __future__ import annotations

from importlib import metadata

from bench import identity
from bench.attacks.base import REGISTRY as ATTACKS
from bench.data.sources import REGISTRY as DATASETS
from bench.data.sources import OwnData, find
from bench.measures.base import REGISTRY as MEASURES
from bench.models.backbones import REGISTRY as BACKBONES
from bench.plan.cell import Plan
from bench.registry import Entry, Registry


def plugins_of(plan: Plan) -> list[Entry]:
    """Every plugin that the plan uses, sorted."""
    used: set[tuple[Registry, str]] = set()
    for cell in plan.cells:
        used.add((BACKBONES, cell.training.backbone.name))
        if not isinstance(find(cell.training.dataset.name, plan.base), OwnData):
            used.add((DATASETS, cell.training.dataset.name))
        if cell.measure is not None:
            used.add((MEASURES, cell.measure))
        attack = getattr(cell.options, "attack", None)
        if attack is not None:
            used.add((ATTACKS, attack.name))
    entries = [registry.find(name) for registry, name in used]
    found = {entry.name: entry for entry in entries if entry.source != "built in"}
    return [found[name] for name in sorted(found)]


def plugin_code(plan: Plan) -> dict[str, str]:
    """Version or source hash of every plugin that the plan uses."""
    return {entry.name: _code(entry) for entry in plugins_of(plan)}


def plugin_sources(plan: Plan) -> dict[str, str]:
    """Hashes of the sources of those plugins that may be edited at any time, by target."""
    found = {entry.target: identity.code_fingerprint(entry.target) for entry in plugins_of(plan)}
    return {target: code for target, code in found.items() if code.startswith("source:")}


def _code(entry: Entry) -> str:
    """`my-nets 1.0, source:1f2e...`: the distribution that registered a plugin, and its code."""
    code = identity.code_fingerprint(entry.target)
    try:
        return f"{entry.source} {metadata.version(entry.source)}, {code}"
    except metadata.PackageNotFoundError:
        return code
