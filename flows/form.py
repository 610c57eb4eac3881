"""The form of a run in Prefect's pages: the settings with their descriptions and limits, each optional.

What is left empty stays as params.yaml has it; what is filled in becomes a change of a DVC experiment. The form names
the rounds params.yaml had when it was made; a change is checked against params.yaml as it is when the run starts.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
)

from tasks import yaml_file
from tasks.errors import UserError
from tasks.explain import explain_all, limits
from tasks.params import PARAMS_FILE, Section, Settings

# Sources are what the settings are about; the others change no result, or belong to what waits for people.
LEFT_OUT = {"sources", "scan", "cache", "report", "run", "review", "audit", "approval", "schedule", "relabel", "alerts"}
# Prefect's page sends `false` for a box that nobody touched, which would switch off what params.yaml has on.
Switch = Literal["yes", "no"]
YES_NO = {"yes": True, "no": False}
OF_A_ROUND = {"teacher"}  # another order of the rounds is another pipeline


def _in_order(schema: dict[str, Any]) -> None:
    """Number the fields: PostgreSQL's JSON keeps no order, and Prefect's page shows them by this number."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class Changes(BaseModel):
    """Base of every form: unknown keys are refused, and what was not filled in is not there."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_in_order)

    @model_serializer(mode="wrap")
    def _only_filled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        filled = {name: value for name, value in handler(self).items() if name in self.model_fields_set}
        return {name: YES_NO[value] if _is_switch(type(self), name) else value for name, value in filled.items()}


def changes() -> type[Changes]:
    """The form for the project in the working directory; without one, for a project of two rounds."""
    return _optional(Settings, _read() or {"rounds": {"r1": {}, "r2": {}}}, LEFT_OUT)


def settings_of(filled: BaseModel | None) -> dict[str, Any]:
    """What somebody filled in, by dotted key, in the order of the form."""
    return dict(_leaves(filled.model_dump(mode="json"))) if filled else {}


def arguments(found: dict[str, Any]) -> list[str]:
    """The same for DVC's --set-param, in Hydra's grammar."""
    return [f"{key}={_hydra(value)}" for key, value in found.items()]


def refuse_wrong(found: dict[str, Any]) -> Settings:
    """The settings as they would be; UserError lists what is wrong with them, in the words of params.yaml."""
    raw = deepcopy(yaml_file.read(PARAMS_FILE))
    for key, value in found.items():
        *path, last = key.split(".")
        node = raw
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(f"  - {line}" for line in explain_all(error.errors(), raw, Settings))
        what = f"with these changes the settings would not be sound:\n{problems}"
        raise UserError(
            "bad_changes", what, "start the run again with other values; docs/params.md lists all"
        ) from None


def _read() -> dict[str, Any]:
    try:
        return dict(yaml_file.read(PARAMS_FILE))
    except (UserError, TypeError, ValueError):
        return {}


def _optional(section: type[Section], now: Any, left_out: set[str], called: str = "") -> type[Changes]:
    """A section whose fields may all be missing; a description ends with the value in params.yaml."""
    fields: dict[str, Any] = {}
    for name, known in section.model_fields.items():
        if name in left_out:
            continue
        value = now.get(name) if isinstance(now, dict) else None
        kind: Any = known.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            fields[name] = _nested(_optional(kind, value, set(), f"{called} {name}".strip()), known.description)
            continue
        if get_origin(kind) is dict and isinstance(entry := get_args(kind)[1], type) and issubclass(entry, Section):
            each: Any = {n: _nested(_optional(entry, v, OF_A_ROUND, f"{called} {n}")) for n, v in (value or {}).items()}
            if each:
                fields[name] = _nested(create_model(name.title(), __base__=Changes, **each), known.description)
            continue
        bounds = Annotated[kind, *known.metadata] if known.metadata else Switch if kind is bool else kind
        here = f"; params.yaml: {_hydra(value)}" if isinstance(now, dict) and name in now else ""
        text = f"{known.description} ({'yes or no' if kind is bool else limits(known)}{here})"
        fields[name] = (bounds, Field(default_factory=_nothing, title=name, description=text))
    return create_model(f"{called.title().replace(' ', '')}{section.__name__}", __base__=Changes, **fields)


def _is_switch(form: type[BaseModel], name: str) -> bool:
    return get_args(form.model_fields[name].annotation) == tuple(YES_NO)


def _nested(form: type[Changes], description: str | None = None) -> tuple[Any, Any]:
    return form, Field(default_factory=form, description=description)


def _nothing() -> None:
    """Not a default: a field that is not filled in is not there."""


def _leaves(tree: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{before}{name}"
        if isinstance(value, dict) and name != "align":  # the one setting that may be a mapping of the user's own names
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        # A backslash is itself but before a quote, where it has to be doubled.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value) + "'"
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_hydra(k)}:{_hydra(v)}' for k, v in value.items())}}}"
    return repr(value)
