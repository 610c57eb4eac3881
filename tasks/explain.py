"""What is wrong with a setting, in words: dotted key, value, allowed range, nearest known key."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

Model = type[BaseModel]
ENTRY_NAMES = {
    "sources": "2 to 32 small letters, digits and _, no digit among the first two, as in my_images",
    "distill": "2 to 32 small letters, digits and _, no digit among the first two, as in phone",
    "rounds": "r1, r2, r3 and so on",
}


def explain_all(errors: Sequence[Mapping[str, Any]], raw: Any, settings: Model) -> list[str]:
    """pydantic's errors on `raw` as sentences, one a key: a value that fits no form of a union is one mistake."""
    found: dict[str, str] = {}
    for error in errors:
        key = ".".join(_location(error, raw, settings))
        found.setdefault(key or error["msg"], _explain(error, raw, settings))
    return list(found.values())


def _location(error: Mapping[str, Any], raw: Any, settings: Model) -> list[str]:
    """The dotted key of an error; where `kind` chooses the form of a section, pydantic puts its value in between."""
    loc = [str(part) for part in error["loc"] if not _is_union_tag(str(part))]
    if loc[2:] and loc[0] in settings.model_fields and _forms(settings.model_fields[loc[0]].annotation):
        del loc[2]
    return loc


def _forms(kind: Any) -> dict[str, Model]:
    """The forms of a section by the value of `kind` that chooses them; none where there is but one form."""
    found = [form for entry in get_args(kind) for union in get_args(entry) for form in get_args(union)]
    forms = [form for form in found if isinstance(form, type) and issubclass(form, BaseModel)]
    return {name: form for form in forms for name in get_args(form.model_fields["kind"].annotation)}


def _explain(error: Mapping[str, Any], raw: Any, settings: Model) -> str:
    """One pydantic error as a sentence: dotted key, what is wrong, what is allowed."""
    loc = _location(error, raw, settings)
    key = ".".join(loc) or "params.yaml"
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return _explain_kind(loc, _at(raw, loc), settings)
    if error["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1], raw, settings)
        near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}: unknown key; {hint}known here: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key}: missing; {_allowed(loc, raw, settings)}"
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        return f"{key}: a name that cannot stand under {loc[0]}; allowed: {ENTRY_NAMES[loc[0]]}"
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}; got {_at(raw, loc)!r}; {_allowed(loc, raw, settings)}"


def _explain_kind(loc: list[str], entry: Any, settings: Model) -> str:
    """`kind` is missing, misspelt, or none of those there are."""
    key, forms = ".".join(loc), _forms(settings.model_fields[loc[0]].annotation)
    allowed = f"allowed: {' or '.join(map(repr, forms))}"
    entry = entry if isinstance(entry, dict) else {}
    if "kind" in entry:
        near = difflib.get_close_matches(str(entry["kind"]), forms, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}.kind: is none of the kinds of a source; got {entry['kind']!r}{hint}; {allowed}"
    if typo := difflib.get_close_matches("kind", [str(name) for name in entry], n=1, cutoff=0.5):
        return f"{key}.{typo[0]}: unknown key; did you mean 'kind'? {allowed}"
    return f"{key}.kind: missing; {allowed}"


def _is_union_tag(part: str) -> bool:
    return bool(re.search(r"[\[(]", part)) or part in {"int", "constrained-int", "none", "[key]"}


def _section_at(loc: list[str], raw: Any, settings: Model) -> Model | None:
    """The settings class under a dotted key, or None where the key leads to a plain value."""
    here = settings
    names = iter(enumerate(loc))
    for index, name in names:
        field = here.model_fields.get(name)
        if field is None:
            return None
        kind, forms = field.annotation, _forms(field.annotation)
        inner = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
        if forms or inner:
            if next(names, None) is None:
                return None
            entry = _at(raw, loc[: index + 2])
            kind = forms.get(str(entry.get("kind"))) if forms and isinstance(entry, dict) else [*inner, None][0]
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        here = kind
    return here


def _known_keys(loc: list[str], raw: Any, settings: Model) -> list[str]:
    section = _section_at(loc, raw, settings)
    return list(section.model_fields) if section else []


def _allowed(loc: list[str], raw: Any, settings: Model) -> str:
    """What may stand under a key: its limits and its description."""
    loc = loc[:-1] if loc[-1].isdigit() else loc  # an entry of a list has no key of its own
    section = _section_at(loc[:-1], raw, settings)
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
    ranged = f"list of {ranged}" if _is_list(kind) else ranged
    lists = [f"list of {', '.join(map(repr, _literals(get_args(a)[0])))}" for a in get_args(kind) if _is_list(a)]
    null = ["null"] if type(None) in get_args(kind) else []
    return " or ".join([*([ranged] if ranged else []), *options, *lists, *null])


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


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
