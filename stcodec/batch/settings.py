"""What a batch is asked to do, and what it was asked the last time."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from stcodec.batch.state import State
from stcodec.errors import UsageError
from stcodec.options import DecodeOptions, EncodeOptions, check_goals, flag

VERSION = 1
CORES_PER_JOB = 4
"""Cores, or CPUs of a cluster, that a job gets where nothing else is asked for."""


@dataclass(frozen=True)
class Settings:
    """What a batch is to do. options: fields of EncodeOptions, or of DecodeOptions if `decode`;
    jobs: files at a time, 0: one for every 4 cores; overwrite: replace outputs that this batch did
    not make as it would now; part: (k, n) takes every n-th file from the k-th on, so that n
    machines share the work; names: see `plan.NAMES`."""

    inputs: tuple[str, ...]
    output: str
    recursive: bool = False
    decode: bool = False
    ending: str = ".stp"
    options: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    jobs: int = 0
    part: tuple[int, int] = (1, 1)
    names: str = "stem"


def resumed(settings: Settings) -> Settings:
    """The settings of the last batch of the folder, under what is given now. UsageError if there
    was none, and no input is given."""
    known = State(settings.output).settings
    if known is None:
        if settings.inputs:
            return settings
        raise UsageError(f"{settings.output}: there is no batch to resume")
    if not settings.inputs:
        same = {name: known[name] for name in ("recursive", "decode", "ending")}
        same["names"] = known.get("names", "stem")
        settings = dataclasses.replace(settings, inputs=tuple(known["inputs"]), **same)
    if settings.decode == known["decode"]:
        settings = dataclasses.replace(settings, options={**known["options"], **settings.options})
    return settings


def check(settings: Settings) -> None:
    """UsageError where there are no inputs, or options that do not go together."""
    if not settings.inputs:
        raise UsageError("no input is named")
    kind = DecodeOptions if settings.decode else EncodeOptions
    foreign = set(settings.options) - {f.name for f in dataclasses.fields(kind)}
    if foreign:
        where = "with encoding" if settings.decode else "with --decode"
        raise UsageError(f"{flag(min(foreign))} goes {where} only")
    check_goals(settings.options, flag)
    if settings.options.get("remove_source") and settings.part[1] > 1:
        raise UsageError("--remove-source and --part exclude each other: parts count what is there")


def remembered(settings: Settings) -> dict[str, Any]:
    """What the state keeps, for `resumed`."""
    return {
        "version": VERSION,
        "inputs": [os.path.abspath(i) for i in settings.inputs],
        "recursive": settings.recursive,
        "decode": settings.decode,
        "ending": settings.ending,
        "names": settings.names,
        "options": settings.options,
    }
