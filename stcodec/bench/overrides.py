"""Constants of the encoder, and settings of a model, replaced for one measurement."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import sys
from collections.abc import Mapping, Sequence

from stcodec.errors import UsageError

TUNING = "stcodec.encoder.tuning"
"""The module that holds the constants of the encoder."""
_ENCODER = "stcodec.encoder.encoder"
_CONFIG = "config."
Settings = Mapping[str, object]
"""Values by name; a name with the prefix `config.` is a field of `ModelConfig`."""


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Texts such as LASTING=0.4 or config.kind_qualities=3,-2,0,2,3 as values by name; UsageError
    where one is not of that form."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            raise UsageError(f"{text!r} is no name=value with numbers for a value") from error
        if not name.strip() or not equals:
            raise UsageError(f"{text!r} is no name=value")
    return dict(sorted(found.items()))


def check_constants(settings: Settings) -> dict[str, object]:
    """The constants of the encoder that the settings replace, with their values; UsageError for one
    that does not exist or is of another kind."""
    wanted = {k: v for k, v in settings.items() if not k.startswith(_CONFIG)}
    if not wanted:
        return {}
    module = importlib.import_module(TUNING)
    found = {}
    for name, value in wanted.items():
        if not name.isupper() or not hasattr(module, name):
            raise UsageError(f"there is no constant {name!r} in {TUNING}")
        found[name] = _like(getattr(module, name), value, name)
    return found


def set_constants(settings: Settings) -> None:
    """Replace constants of the encoder in this process, before it has been imported: other modules
    keep the values that they imported. Errors as in `check_constants`."""
    constants = check_constants(settings)
    if constants and _ENCODER in sys.modules:
        raise RuntimeError("the encoder was imported before its constants were set")
    for name, value in constants.items():
        setattr(importlib.import_module(TUNING), name, value)


def changed_config(config: object, settings: Settings) -> dict[str, object]:
    """The fields of a model's configuration that the settings replace, with their values."""
    found = {}
    for key, value in settings.items():
        if key.startswith(_CONFIG):
            name = key.removeprefix(_CONFIG)
            if name not in {f.name for f in dataclasses.fields(config)}:  # type: ignore[arg-type]
                raise UsageError(f"a model's configuration has no {name!r}")
            found[name] = _like(getattr(config, name), value, key)
    return found


def _like(old: object, new: object, name: str) -> object:
    """The new value, if it is of the old one's kind."""
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        return tuple(_like(a, b, name) for a, b in zip(old, new, strict=True))
    if type(old) is not type(new) or isinstance(old, tuple):
        raise UsageError(f"{name} is {old!r}, and {new!r} is not of that kind")
    return new
