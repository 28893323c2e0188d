"""Which files a batch takes, and where each output goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stcodec.errors import UsageError

# What a folder is searched for; a file that is named is taken whatever its ending.
_NAMES = """3g2 3gp asf avi divx dv f4v flv gif m2ts m2v m4v mj2 mkv mov mp4 mpeg mpg mts mxf nut
ogm ogv qt rm rmvb ts vob webm wmv y4m"""
VIDEOS = frozenset(f".{name}" for name in _NAMES.split())
CODED = frozenset([".stp"])
NAMES = ("stem", "full")
"""How outputs of an encode are named: by `film.mp4`, "stem" makes `film.stp`, "full"
`film.mp4.stp`."""
DECODED = ".decoded"
"""What the name of a video has that is decoded beside its `.stp` file, where the source of that may
be under the same name."""


@dataclass(frozen=True)
class Task:
    """One file of a batch. target: relative to the folder of outputs."""

    source: str
    target: str


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order; problems: inputs that cannot be had, and why."""

    tasks: tuple[Task, ...]
    problems: tuple[tuple[str, str], ...]


def make_plan(
    inputs: Sequence[str],
    output: str,
    *,
    decode: bool,
    ending: str,
    recursive: bool,
    names: str = "stem",
) -> Plan:
    """Look for files in `inputs`, folders or files; the folders under an input are mirrored in
    `output`.

    names: see `NAMES`. Hidden files and folders, links to folders, and `output` itself are passed
    over. UsageError where two inputs have the same output, or an output would replace an input.
    """
    problems: list[tuple[str, str]] = []
    wanted = CODED if decode else VIDEOS
    tasks: dict[str, str] = {}
    for name in inputs:
        if os.path.isdir(name):
            found = _search(name, output, wanted, recursive, problems)
        else:
            found = iter([(name, os.path.basename(name))])
            if not os.path.exists(name):
                problems.append((name, f"{name}: no such file"))
                continue
        for source, place in found:
            target = _target(source, place, output, decode=decode, ending=ending, names=names)
            other = tasks.setdefault(target, source)
            if os.path.realpath(other) != os.path.realpath(source):
                way_out = "" if decode or names == "full" else " (--names full keeps them apart)"
                raise UsageError(
                    f"{other} and {source} have the same output "
                    f"{os.path.join(output, target)}{way_out}"
                )
    sources = {os.path.realpath(source) for source in tasks.values()}
    for target, source in tasks.items():
        if os.path.realpath(os.path.join(output, target)) in sources:
            raise UsageError(
                f"the output of {source} would replace the input {os.path.join(output, target)}"
            )
    return Plan(tuple(Task(source, target) for target, source in tasks.items()), tuple(problems))


def _target(source: str, place: str, output: str, *, decode: bool, ending: str, names: str) -> str:
    """The name of an output; place: that of its source, under `output`."""
    stem = os.path.splitext(place)[0] if decode or names == "stem" else place
    beside = os.path.realpath(os.path.join(output, os.path.dirname(place)))
    if decode and beside == os.path.realpath(os.path.dirname(source) or os.curdir):
        stem += DECODED
    return stem + ending


def _search(
    folder: str,
    output: str,
    wanted: frozenset[str],
    recursive: bool,
    problems: list[tuple[str, str]],
) -> Iterator[tuple[str, str]]:
    """(path, path under `folder`) of the files with a wanted ending."""

    def complain(error: OSError) -> None:
        problems.append((str(error.filename), f"{error.filename}: {error.strerror}"))

    inside = os.path.realpath(output)
    for root, folders, files in os.walk(folder, onerror=complain):
        keep = [f for f in folders if recursive and not f.startswith(".")]
        folders[:] = sorted(f for f in keep if os.path.realpath(os.path.join(root, f)) != inside)
        for name in sorted(files):
            path = os.path.join(root, name)
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in wanted:
                continue
            if os.path.isfile(path):
                yield path, os.path.relpath(path, folder)
            elif not os.path.exists(path):  # as one onto a disk that is not there
                problems.append((path, f"{path}: is a link that leads nowhere"))
