"""YAML as DVC reads it, for the differences would be silent: PyYAML keeps the last of two equal keys, where DVC stops,
and takes 1e-3 for text, where DVC sees a number."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import UserError

NUMBER = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class _AsDvc(yaml.constructor.SafeConstructor):
    """Of two equal keys the second is an error: it is a block copied and not renamed."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping without equal keys."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if (first := lines.setdefault(key.value, line)) != line:
                what = f"the key {key.value!r} stands here a second time; the first one is in line {first}"
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
        return super().construct_mapping(node, deep)


class _Loader(_AsDvc, yaml.SafeLoader):
    """PyYAML's safe loader with those two differences mended; it shows the line that it cannot read."""


class _Quick(_AsDvc, yaml.CSafeLoader):
    """The same in C: 5 ms instead of 33 for params.yaml, which every stage reads twice."""


for _loader in (_Loader, _Quick):
    _loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    _loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. UserError when there is none, or it cannot be read as one."""
    try:
        raw = _load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = "run this in the project's folder"
        raise UserError("no_settings", f"{path} does not exist in {Path.cwd()}", fix) from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError("no_settings", f"{path} cannot be read: {error.strerror}", "name a settings file") from None
    except UnicodeDecodeError as error:
        raise UserError("bad_yaml", f"{path} is not UTF-8: {error}", f"save it as UTF-8, or {_back(path)}") from None
    except yaml.YAMLError as error:
        raise UserError("bad_yaml", f"{path} is not YAML: {_in(path, error)}", "mend the line named above") from None
    if not isinstance(raw, dict):
        held = "is empty" if raw is None else f"holds {type(raw).__name__} {raw!r:.40}, not keys and values"
        raise UserError("bad_settings", f"{path} {held}", f"{_back(path)}; docs/params.md lists every key")
    return raw


def _load(text: str) -> Any:
    try:
        return yaml.load(text, _Quick)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return yaml.load(text, _Loader)  # noqa: S506 - the same, which says it better


def with_value(text: str, keys: Sequence[str], value: str) -> str:
    """The text of a YAML file with the scalar under these keys replaced; all else stays, comments and order included.

    KeyError where there is no such key.
    """
    node: Any = yaml.compose(text, _Loader)
    for key in keys:
        node = {name.value: below for name, below in node.value}[key]
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _back(path: Path) -> str:
    return f"`git checkout {path}` brings the last committed one back"


def _in(path: Path, error: yaml.YAMLError) -> str:
    return str(error).replace('"<unicode string>"', str(path)).strip()
