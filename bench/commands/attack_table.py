"""`bench list attacks`: what each attack needs, measures and costs, from the table of them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from bench.attacks import capabilities
from bench.attacks.base import REGISTRY, load
from bench.attacks.capabilities import Capability
from bench.attacks.values import is_number
from bench.errors import BenchError

HEADS = ("norm", "access", "random", "finds", "evaluations", "channels")
# The package behind what is named so.
PACKAGES = {"foolbox": "foolbox", "torchattacks": "torchattacks", "autoattack": "pyautoattack"}
LEGEND = """\
random: * where an option decides; finds: the smallest perturbation, or what succeeds at each of
`epsilons`; evaluations: about how many predictions for an image (and epsilon) at the defaults"""

Row = tuple[str, tuple[str, ...], str]


def show(pattern: str, as_json: bool) -> int:
    """Print the attacks whose name fits a pattern; one alone comes with its options, for which its
    module is imported.

    Raises:
        BenchError: none does; the message has a suggestion.
    """
    blocks = {
        "": capabilities.BUILT_IN,
        **{name: capabilities.LIBRARIES[name] for name in capabilities.LIBRARIES},
    }
    found = {
        title: [
            what for what in block.values() if any(fnmatchcase(n, pattern) for n in _names(what))
        ]
        for title, block in blocks.items()
    }
    plugins = [row for row in _plugins() if fnmatchcase(row[0], pattern)]
    if not plugins and not any(found.values()):
        names = [n for block in blocks.values() for what in block.values() for n in _names(what)]
        near = get_close_matches(pattern.strip("*"), names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "try 'foolbox:*' or 'torchattacks:*'"
        raise BenchError(f"no attack fits '{pattern}'; {hint}")
    if as_json:
        rows = [_facts(what) for block in found.values() for what in block]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    sys.stdout.writelines(line.rstrip() + "\n" for line in _lines(found, plugins))
    alone = [what.name for block in found.values() for what in block] + [row[0] for row in plugins]
    if len(alone) == 1:
        sys.stdout.writelines(_options(alone[0]))
    return 0


def _options(name: str) -> Iterator[str]:
    """The options of an attack with their defaults, as a suite writes them."""
    try:
        attack = load(name)
        options = {**attack.defaults, **attack.options({})}
    except BenchError:  # a library that is not installed, as its row says
        return
    width = max(map(len, options), default=0)
    yield "\noptions, with their defaults:\n" if options else "\nno options\n"
    for key, value in options.items():
        words = " or ".join(attack.choices.get(key, ()))
        plain = [_short(v) for v in value] if isinstance(value, tuple) else value
        # The default of somebody's function may be anything.
        text = json.dumps(plain, default=repr)
        yield f"  {key:<{width}}  {text}{f'  ({words})' if words else ''}\n"


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if is_number(value) else value


def _names(what: Capability) -> list[str]:
    """Its name and aliases."""
    if not what.name.startswith("foolbox:"):
        return [what.name]
    aliases = [alias for alias, name in capabilities.ALIASES.items() if name == what.attack]
    return [what.name, *(f"foolbox:{alias}" for alias in aliases)]


def _lines(found: dict[str, list[Capability]], plugins: list[tuple[str, str]]) -> Iterator[str]:
    for title, block in found.items():
        rows = [_row(what) for what in block]
        if not rows:
            continue
        if title:
            yield _title(title)
        yield from _aligned(rows)
        yield ""
    if plugins:
        width = max(len(name) for name, _ in plugins)
        yield from (f"{name:<{width}}  {text}" for name, text in plugins)
        yield ""
    yield LEGEND


def _aligned(rows: list[Row]) -> Iterator[str]:
    table = [("", HEADS, ""), *rows]
    wide = max(len(name) for name, _, _ in table)
    widths = [
        max(map(len, column)) for column in zip(*(cells for _, cells, _ in table), strict=True)
    ]
    for name, cells, note in table:
        aligned = (
            f"{cell:>{width}}" if head == "evaluations" else f"{cell:<{width}}"
            for head, cell, width in zip(HEADS, cells, widths, strict=True)
        )
        yield "  ".join([f"{name:<{wide}}", *aligned, note])


def _row(what: Capability) -> Row:
    facts = _facts(what)
    cells = (
        what.norm or "-",
        what.access,
        ("no" if what.deterministic else "yes") + ("*" if what.optional else ""),
        facts["finds"],
        f"{what.evaluations:,}",
        ", ".join(map(str, what.channels)) or "any",
    )
    return what.name, cells, facts["note"]


def _facts(what: Capability) -> dict[str, Any]:
    """One attack, as in the JSON."""
    summary = "" if ":" in what.name else REGISTRY.find(what.name).summary
    return {
        "name": what.name,
        "norm": what.norm or None,
        "access": what.access,
        "deterministic": what.deterministic,
        "finds": "epsilons" if what.strength else "smallest",
        "epsilons": list(what.epsilons),
        "evaluations": what.evaluations,
        "channels": list(what.channels),
        "note": "; ".join(text for text in (summary, what.note, _missing(what)) if text),
    }


def _missing(what: Capability) -> str:
    """`needs ...` for a package that is not installed."""
    library = what.name.partition(":")[0]
    package = PACKAGES.get(library)
    if package and not _installed(package):
        return "" if ":" in what.name else f"needs {package}, which is not installed"
    needed = capabilities.PACKAGES.get(what.name)
    return f"needs {needed}, which is not installed" if needed and not _installed(needed) else ""


def _title(library: str) -> str:
    state = "installed" if _installed(PACKAGES[library]) else "not installed"
    text = f"{library}:<Class>, extra `{library}` ({state})"
    if library == "foolbox":
        text += "; also " + ", ".join(sorted(capabilities.ALIASES))
    return text


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _plugins() -> list[tuple[str, str]]:
    """Attacks that other packages registered, with their summary or why they do not import."""
    found = []
    for row in REGISTRY.rows():
        if row.entry.source != "built in":
            text = f"ERROR: {row.error}" if row.error else row.summary
            found.append((row.entry.name, f"{text} [{row.entry.source}]".strip()))
    return found
