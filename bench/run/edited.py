"""Plugins that are edited while a run is at work: a process that takes another's place would import
what is there now, under the identities of what was there before."""

from __future__ import annotations

from bench.identity import code_fingerprint
from bench.run.place import Place
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
