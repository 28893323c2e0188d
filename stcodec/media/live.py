"""Sources that have an address and no end: streams in a network, and devices."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import av
from av.error import ExitError, FFmpegError

from stcodec.common.addresses import without_secrets
from stcodec.common.values import PathLike
from stcodec.errors import InputError
from stcodec.media.packets import reason

SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
"""What the addresses of streams begin with."""
# What a stream may have opened in turn, as playlists do: never a file.
_PROTOCOLS = "http,https,httpproxy,tcp,tls,udp,rtp,rtmp,rtmps,srt,crypto,data"
_CAMERAS = {"linux": ("/dev/video", "v4l2")}
# Formats whose times are made up.
_UNTIMED = {"mpjpeg"}


@dataclass(frozen=True)
class Live:
    """A stream or device. format: FFmpeg's name of it, None where the address says it; options:
    FFmpeg's, by name; timeout: seconds without anything after which it counts as gone."""

    address: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0

    @property
    def name(self) -> str:
        """The address, as it may be shown."""
        return without_secrets(self.address)

    def open(self) -> Any:
        """PyAV's container. InputError."""
        options = dict(self.options)
        if self.format is None:
            options.setdefault("protocol_whitelist", _PROTOCOLS)
        if self.address.startswith("rtsp"):
            options.setdefault("rtsp_flags", "prefer_tcp")
        try:
            return av.open(
                self.address,
                format=self.format,
                options=options,
                timeout=self.timeout,
                metadata_errors="replace",
            )
        # FFmpeg's errors have the whole address, and users send us what is shown of these.
        except ExitError:
            raise InputError(f"{self.name}: no answer within {self.timeout:g} s") from None
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{self.name}: {reason(error)}") from None


def is_untimed(container: Any) -> bool:
    """Whether the times of its pictures mean nothing."""
    return container.format.name in _UNTIMED


def find_live(
    source: PathLike, format: str | None, options: Mapping[str, str], timeout: float
) -> Live | None:
    """What `source` stands for, if it is no file or pipe: a name of the given format, an address,
    or a camera's device."""
    name = os.fspath(source)
    if format is not None:
        return Live(name, format, options, timeout)
    if re.match(rf"({'|'.join(SCHEMES)})://", name, re.IGNORECASE):
        return Live(name, None, options, timeout)
    prefix, device = _CAMERAS.get(sys.platform, ("", ""))
    is_camera = prefix and name.startswith(prefix) and os.path.exists(name)
    if is_camera and stat.S_ISCHR(os.stat(name).st_mode):
        return Live(name, device, options, timeout)
    return None
