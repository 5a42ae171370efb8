"""`bench explain RUN`: pictures of where the networks of a run look."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data import catalog
from bench.errors import BenchError
from bench.measures.heatmap_options import HeatmapOptions, differentiated
from bench.measures.localization import Options
from bench.plan.cell import Plan
from bench.run.trained import Trained, load, plan_of, trained
from bench.store.database import Store
from bench.store.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.commands.explain_pictures import Request
    from bench.run.place import Place
    from leaderboard.results import Results

MOST_IMAGES = 24  # more are not looked at any more
_Group = dict[str, list[Trained]]  # by variant, its seeds


def main(args: argparse.Namespace) -> int:
    """Draw what there is to draw; print a line for each file, and what is worth a note."""
    from bench.commands.explain_pictures import NothingToDrawError
    from bench.commands.run_place import resolve_device
    from bench.run.place import Place

    request = _request(args)
    album = _Album(args.out or args.run / "explain")
    store = Store.open(args.run)
    try:
        plan = plan_of(store)
        groups = _groups(trained(store, plan), args)
        results = _results(store, plan)
    finally:
        store.close()
    root = (args.data or catalog.default_root()).expanduser()
    place = Place(root, plan.base, resolve_device(args.device))
    reasons, others = [], False
    for name, group in groups.items():
        try:
            options = _options(plan, name)
            asked = request if args.method else _as_measured(request, options)
            others |= _differs(asked, options)
            _draw(asked, _chosen(group, args.of_seed), options, place, album)
        except NothingToDrawError as error:
            reasons.append(f"{name}: {error}")
    if len(reasons) == len(groups):
        raise BenchError(f"nothing can be drawn: {'; '.join(reasons)}")
    _draw_bars(results, groups, album)
    if results is not None and results.localized and others:
        album.note("bars of precision and recall are of the heatmaps that the suite measured")
    for reason in reasons:
        album.note(f"nothing is drawn of {reason}")
    return 0


class _Album:
    """The folder of pictures."""

    def __init__(self, folder: Path) -> None:
        if folder.is_file():
            raise BenchError(f"--out {folder}: is a file; name a folder for the pictures")
        self.folder = folder
        self._taken: set[str] = set()

    def stem(self, name: str) -> str:
        """The beginning of file names for what is called so, each only once."""
        from leaderboard.text import slug

        return slug(name, self._taken)

    def add(self, name: str, figure: Figure) -> None:
        """Write a picture and print where it is."""
        from leaderboard.figures.looks import png

        path = self.folder / f"{name}.png"
        try:
            write_whole(path, png(figure))
        except OSError as error:
            raise BenchError(f"{path}: cannot be written: {error.strerror}") from None
        print(path, flush=True)

    def note(self, text: str) -> None:
        """Print something to know about the pictures."""
        print(f"note: {text}", flush=True)


def _request(args: argparse.Namespace) -> Request:
    """What is to be drawn of each network.

    Raises:
        BenchError: numbers that cannot be.
    """
    from bench.commands.explain_pictures import Request

    if not 1 <= args.count <= MOST_IMAGES:
        raise BenchError(f"--count {args.count}: give a number from 1 to {MOST_IMAGES}")
    if args.seed < 0:
        raise BenchError(f"--seed {args.seed}: must be 0 or more")
    layers = tuple(word.strip() for word in args.layers.split(","))
    numbers: list[int] = []
    if args.images is not None:
        try:
            numbers = [int(word) for word in args.images.split(",")]
        except ValueError:
            raise BenchError(
                f"--images {args.images}: give numbers of test images, like 3,17,256"
            ) from None
    if len(numbers) > MOST_IMAGES:
        raise BenchError(f"--images: {len(numbers)} are too many; name at most {MOST_IMAGES}")
    method = args.method or Options().method
    return Request(tuple(numbers), args.count, args.seed, layers, method, args.score)


def _as_measured(request: Request, options: Options) -> Request:
    """With the method of the suite's measure, and its score where none was asked for."""
    return replace(request, method=options.method, score=request.score or options.score)


def _differs(request: Request, options: Options) -> bool:
    """Whether heatmaps are drawn of another kind than the suite's measure has, or not its own."""
    drawn = request.options
    kinds = {(one.method, differentiated(one)) for one in (drawn, options)}
    all_there = "all" in request.layers or {*options.layers} <= {*request.layers}
    return len(kinds) > 1 or not all_there


def _groups(every: Sequence[Trained], args: argparse.Namespace) -> dict[str, _Group]:
    """The trainings by `dataset/backbone`, as far as they were asked for.

    Raises:
        BenchError: there is none, or none is trained.
    """
    groups: dict[str, _Group] = {}
    for one in every:
        variants = groups.setdefault(_name(one), {})
        variants.setdefault(one.training.variant, []).append(one)
    chosen = {name: group for name, group in groups.items() if fnmatchcase(name, args.only)}
    if not chosen:
        raise BenchError(f"--only '{args.only}' fits none of {', '.join(groups)}")
    seeds = dict.fromkeys(one.training.seed for one in every)
    if args.of_seed is not None and args.of_seed not in seeds:
        known = ", ".join(map(str, seeds))
        raise BenchError(f"--of-seed {args.of_seed}: the run's seeds are {known}")
    members = [one for group in chosen.values() for some in group.values() for one in some]
    if all(one.missing for one in members):
        raise BenchError(
            f"{args.run}: no network is trained there ({members[0].training.label}: "
            f"{members[0].missing})"
        )
    return chosen


def _name(one: Trained) -> str:
    return f"{one.training.dataset.label}/{one.training.backbone.label}"


def _chosen(group: _Group, seed: int | None) -> list[Trained]:
    """The variants with the seed asked for, else with the first of which most are trained."""
    by_seed: dict[int, list[Trained]] = {}
    for some in group.values():
        for one in some:
            by_seed.setdefault(one.training.seed, []).append(one)
    if seed is not None:
        return by_seed[seed]
    return max(by_seed.values(), key=lambda members: sum(not one.missing for one in members))


def _options(plan: Plan, name: str) -> Options:
    """How the suite measures localization; else its defaults, with the heatmaps of faithfulness
    where that is measured."""
    every = [
        options
        for cell in plan.cells
        if name == f"{cell.training.dataset.label}/{cell.training.backbone.label}"
        and isinstance(options := getattr(cell.options, "options", None), HeatmapOptions)
    ]
    for options in every:
        if isinstance(options, Options):
            return options
    return Options.model_validate(every[0].model_dump(include={"method", "score"}) if every else {})


def _draw(
    request: Request, members: Sequence[Trained], options: Options, place: Place, album: _Album
) -> None:
    """The pictures of one backbone on one data set.

    Raises:
        NothingToDrawError: no variant is trained, or has a map to explain.
    """
    import torch

    from bench.commands.explain_pictures import NothingToDrawError, figures, scene
    from bench.models.cudnn import exact
    from bench.models.memory import is_out_of_memory
    from bench.models.settings import mode_of
    from bench.run.place import load_dataset
    from bench.train.determinism import numerics

    notes = [f"{one.training.variant}: {one.missing}" for one in members if one.missing]
    there = [one for one in members if not one.missing]
    if not there:
        raise NothingToDrawError("; ".join(notes))
    first = there[0].training
    dataset, device = load_dataset(first, place), torch.device(place.device)
    for one in there:
        if one.changed:
            what = "code or data have changed since it was trained"
            if first.weights is not None:
                what = "code, data or weights have changed since it was measured"
            notes.append(f"{one.training.variant}: {what}")
    name = _name(there[0])
    try:
        with numerics(mode_of(first.recipe, device), device), exact():
            networks = {one.training.variant: load(one, dataset, device) for one in there}
            found = scene(request, dataset, networks, device, notes)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        text = f"{name}: does not fit into the memory of {device}; try --device cpu"
        raise BenchError(text) from None
    title = f"{first.dataset.label} · {first.backbone.label} · seed {first.seed}"
    stem = album.stem(name)
    for kind, figure in figures(found, title, request.said(), options, notes):
        album.add(f"{stem}-{kind}", figure)
    for note in notes:
        album.note(f"{name}: {note}")


def _results(store: Store, plan: Plan) -> Results | None:
    """What the run has measured, where localization is part of it."""
    from bench.store.read import results

    measured = any(
        isinstance(getattr(cell.options, "options", None), Options) for cell in plan.cells
    )
    return results(store) if measured else None


def _draw_bars(results: Results | None, groups: dict[str, _Group], album: _Album) -> None:
    """Precision and recall over all images that were measured: figure 9 of the paper."""
    if results is None:
        return
    from leaderboard.figures.localization import bar_figure
    from leaderboard.numbers.localization import compare

    kept = [one for one in results.localized if f"{one.dataset}/{one.backbone}" in groups]
    results = replace(results, localized=tuple(kept))
    for dataset in dict.fromkeys(one.dataset for one in kept):
        try:
            found = compare(results, dataset)
        except ValueError as error:
            album.note(f"no bars of precision and recall on {dataset}: {error}")
        else:
            album.add(f"{album.stem(dataset)}-precision-recall", bar_figure(dataset, found))
