"""Why an artefact of one version is not that of another: settings, code and inputs that differ, from both dvc.lock."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.versions.history import Lock

Cause = dict[str, Any]


def of(before: Lock, after: Lock, artefact: str, seen: set[str] | None = None) -> Cause | None:
    """What differs in the making of an artefact; None where it is the same.

    `settings`: key, value before and after. `code`: files of the stage that differ. `inputs`: the causes of each input
    that differs, down to files that no stage makes. What was named once already has no inputs named again.
    """
    hashes = before.outs.get(artefact), after.outs.get(artefact)
    if hashes[0] == hashes[1]:
        return None
    seen = set() if seen is None else seen
    stage = after.made.get(artefact) or before.made.get(artefact) or ""
    found: Cause = {"artefact": artefact, "stage": stage, "before": hashes[0], "after": hashes[1]}
    found |= {"settings": [], "code": [], "inputs": [], "named_above": artefact in seen}
    if artefact in seen or None in hashes:
        return found
    seen.add(artefact)
    found["settings"] = list(_settings(before.params(stage), after.params(stage)))
    deps = before.deps(stage), after.deps(stage)
    for path in sorted(deps[0].keys() | deps[1].keys()):
        values = deps[0].get(path), deps[1].get(path)
        if values[0] == values[1]:
            continue
        if path.endswith(".py"):
            found["code"].append(path)
            continue
        made = _artefacts(before, after, path)
        inputs = [cause for name in made if (cause := of(before, after, name, seen))]
        plain = {"artefact": path, "stage": None, "before": values[0], "after": values[1]}
        found["inputs"] += inputs or [plain | {"settings": [], "code": [], "inputs": [], "named_above": False}]
    return found


def lines(cause: Cause, depth: int = 0) -> Iterator[str]:
    """The tree in words, two spaces a level."""
    pad = "  " * depth
    if cause["named_above"]:
        yield f"{pad}{cause['artefact']}: as above"
        return
    if None in (cause["before"], cause["after"]):
        yield f"{pad}{cause['artefact']} is {'new' if cause['before'] is None else 'gone'}"
        return
    by = f", by {cause['stage']}" if cause["stage"] else ""
    yield f"{pad}{cause['artefact']} {cause['before'][:8]} → {cause['after'][:8]}{by}"
    for key, old, new in cause["settings"]:
        yield f"{pad}  {key}: {old} → {new}"
    if cause["code"]:
        yield f"{pad}  code: {', '.join(cause['code'])}"
    for part in cause["inputs"]:
        yield from lines(part, depth + 1)


def _artefacts(before: Lock, after: Lock, path: str) -> list[str]:
    """A dependency is an artefact, or a folder of several."""
    outs = before.outs.keys() | after.outs.keys()
    return [path] if path in outs else sorted(out for out in outs if Path(out).is_relative_to(path))


def _settings(before: Any, after: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Leaves that differ, by their dotted key."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(other for other in after if other not in before)]:
            yield from _settings(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    elif before != after:
        yield key, before, after
