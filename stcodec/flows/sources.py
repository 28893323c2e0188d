"""What becomes of an input once its output is complete: its times are kept, or it is removed."""

from __future__ import annotations

import dataclasses
import os

from stcodec.common.files import is_special, is_standard_stream
from stcodec.common.sequences import find_sequence, is_picture_output
from stcodec.common.signatures import Signature, signature
from stcodec.common.values import PathLike, Picture
from stcodec.errors import InputError, StcodecError, UsageError
from stcodec.options import EncodeOptions


def check_plain(source: PathLike, target: PathLike, flag: str) -> None:
    """UsageError where an option needs a file on either side, and one of them is none: a pipe, a
    device, numbered pictures."""
    for path, pictures in ((source, find_sequence(source)), (target, is_picture_output(target))):
        if is_standard_stream(path) or pictures or is_special(path):
            raise UsageError(f"{flag} needs files: {os.fspath(path)} is none")


def keep_time(source: PathLike, target: PathLike) -> None:
    """Give a file the times of change and of access of another. StcodecError."""
    try:
        found = os.stat(source)
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    except OSError as error:
        message = f"{os.fspath(target)}: its times cannot be set ({error.strerror})"
        raise StcodecError(message) from error


def prove(target: PathLike, frames: int) -> None:
    """Decode all of a `.stp` file. StcodecError where it does not have so many pictures, or any
    cannot be decoded: the source is needed still."""
    from stcodec.flows.inspect import verify

    found = 0
    try:
        for report in verify(target, deep=True):
            if report.problem is not None:
                raise StcodecError(f"chunk {report.chunk}: {report.problem}")
            found += report.frames
        if found != frames:
            raise StcodecError(f"{found} pictures instead of {frames}")
    except StcodecError as error:
        message = f"{os.fspath(target)}: cannot be decoded ({error}); its source is kept"
        raise StcodecError(message) from error


def doubt(source: PathLike, options: EncodeOptions, frames: int) -> str | None:
    """What speaks against it that a source is whole and that its decoder has shown all of it:
    damage that does not keep a picture from being shown, or less or more than so many pictures.
    None where nothing does."""
    from stcodec.flows.encode import opened_video
    from stcodec.media.complaints import heard, second_opinion

    found = 0
    try:
        with opened_video(source, dataclasses.replace(options, strict=True)) as video:
            with heard(video.decoder) as lines:
                found = sum(isinstance(item, Picture) for item in video)
            other = second_opinion(source, video.demuxer.video.index, video.decoder)
    except InputError as error:
        return str(error).removeprefix(f"{os.fspath(source)}: ")
    if lines or other:
        return f"its decoder finds damage ({lines[0] if lines else other})"
    return None if found == frames else f"it has {found} pictures, not {frames}"


def remove(source: PathLike, before: Signature | None, untouched: bool) -> str | None:
    """Remove a source that `prove` has made superfluous, if it is `untouched` in the output (see
    `EncodeResult`) and still what was encoded (`before`). Returns why it is kept, if it is."""
    why = None
    if not untouched:
        why = "not all of it is in the output as it was"
    elif os.path.islink(source):
        why = "it is a link"
    elif before is None or signature(source) != before:
        why = "it has changed meanwhile"
    else:
        try:
            os.unlink(source)
        except OSError as error:
            why = error.strerror or str(error)
    return None if why is None else f"the source is kept: {why}"
