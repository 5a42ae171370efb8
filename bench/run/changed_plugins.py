"""Plugins that are edited while a run is at work: a process that takes another's place would import
what is there now, under the identities of what was there before."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from bench.identity import code_fingerprint
from bench.run.place import Place
from bench.store.database import Store
from bench.store.outcome import Failed


def edited(place: Place) -> Failed | None:
    """Why this process must not do a unit: its plugins are not those that the run was planned
    with. What it has imported once stays as it was, and so does what is known of it here."""
    wrong = [target for target, code in place.code.items() if code_fingerprint(target) != code]
    if not wrong:
        return None
    text = (
        f"the code of {', '.join(wrong)} changed while the run was at work; run the same command "
        "again to see what the edit does"
    )
    return Failed("BenchError", text, "")


def since(store: Store, now: Mapping[str, str]) -> list[str]:
    """A sentence for each plugin (name to version or source hash) whose code is not that of the
    last session that used it."""
    before: dict[str, str] = {}
    for row in store.rows("SELECT provenance FROM sessions ORDER BY id"):
        with contextlib.suppress(ValueError):  # a damaged record; a page tells of it
            before |= json.loads(row["provenance"]).get("plugins", {})
    return [
        f"the code of {name} is not what it was in the last session; its cells are new ones"
        for name, code in now.items()
        if before.get(name, code) != code
    ]
