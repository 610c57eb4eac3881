"""What is wrong with a setting, in words: dotted key, value, allowed range, nearest known key."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel

Model = type[BaseModel]


def explain_all(errors: Sequence[Mapping[str, Any]], raw: Any, settings: Model) -> list[str]:
    """pydantic's errors on `raw` as sentences, one a key: a value that fits no form of a union is one mistake."""
    found: dict[str, str] = {}
    for error in errors:
        key = ".".join(_location(error))
        found.setdefault(key or error["msg"], _explain(error, raw, settings))
    return list(found.values())


def _location(error: Mapping[str, Any]) -> list[str]:
    return [str(part) for part in error["loc"] if not _is_union_tag(str(part))]


def _explain(error: Mapping[str, Any], raw: Any, settings: Model) -> str:
    """One pydantic error as a sentence: dotted key, what is wrong, what is allowed."""
    loc = _location(error)
    key = ".".join(loc) or "params.yaml"
    if error["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1], settings)
        near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}: unknown key; {hint}known here: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key}: missing; {_allowed(loc, settings)}"
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}; got {_at(raw, loc)!r}; {_allowed(loc, settings)}"


def _is_union_tag(part: str) -> bool:
    return bool(re.search(r"[\[(]", part)) or part in {"int", "constrained-int", "none", "[key]"}


def _section_at(loc: list[str], settings: Model) -> Model | None:
    """The settings class under a dotted key, or None where the key leads to a plain value."""
    here = settings
    names = iter(loc)
    for name in names:
        field = here.model_fields.get(name)
        if field is None:
            return None
        kind = field.annotation
        inner = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
        if inner:
            if next(names, None) is None:
                return None
            kind = inner[0]
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        here = kind
    return here


def _known_keys(loc: list[str], settings: Model) -> list[str]:
    section = _section_at(loc, settings)
    return list(section.model_fields) if section else []


def _allowed(loc: list[str], settings: Model) -> str:
    """What may stand under a key: its limits and its description."""
    section = _section_at(loc[:-1], settings)
    field = section.model_fields.get(loc[-1]) if section else None
    if field is None:
        return "see docs/params.md"
    return f"allowed: {limits(field)} ({field.description})"


def limits(field: Any) -> str:
    """The type and range of a settings field in words, as in `number from 0 to 1` (also used by docs/params.md)."""
    kind = field.annotation
    options = [repr(a) for a in _literals(kind)]
    words = "true or false" if kind is bool else "section" if _is_section(kind) else ""
    words = words or (
        "text" if kind is str else "whole number" if "int" in str(kind) else "number" if "float" in str(kind) else ""
    )
    bounds = {name: getattr(m, name) for m in _metadata(field) for name in ("ge", "gt", "le", "lt") if hasattr(m, name)}
    text = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    ranged = " ".join([words, *(text[n].format(v) for n, v in bounds.items() if v is not None)]).strip()
    null = ["null"] if type(None) in get_args(kind) else []
    return " or ".join([*([ranged] if ranged else []), *options, *null])


def _is_section(kind: Any) -> bool:
    return "Section" in [c.__name__ for c in getattr(kind, "__mro__", ())] or "dict" in str(kind)


def _metadata(field: Any) -> Iterator[Any]:
    yield from field.metadata
    for arg in get_args(field.annotation):
        for extra in getattr(arg, "__metadata__", ()):
            yield from getattr(extra, "metadata", ())


def _literals(kind: Any) -> list[Any]:
    if getattr(kind, "__origin__", None) is Literal:
        return list(get_args(kind))
    return [v for a in get_args(kind) if getattr(a, "__origin__", None) is Literal for v in get_args(a)]


def _at(raw: Any, loc: list[str]) -> Any:
    for part in loc:
        raw = raw.get(part) if isinstance(raw, dict) else raw
    return raw
