"""What tests of `stcodec play --serve` share: the command, a film, and a browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import stcodec
from tests import forked
from tests.media import frame_of, moving_planes, write_clip

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@dataclass
class Served:
    process: subprocess.Popen[str]
    port: int
    token: str

    def get(self, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={} if host is None else {"Host": host})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@contextlib.contextmanager
def serving(path: Path, *more: str, folder: Path | None = None) -> Iterator[Served]:
    process = forked.popen(
        ["play", path, "--serve", "--no-open", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder or path.parent)},
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/([\w-]{20,})/ ", process.stdout.readline())
        assert found is not None
        yield Served(process, int(found[1]), found[2])
    finally:
        process.kill()
        process.wait()


def make_film(folder: Path) -> Path:
    """50 pictures of 97x63 in 10 bits with sound; the time stamps are not regular and do not start
    at zero."""
    frames = [frame_of(moving_planes(97, 63, i, 10), "yuv420p10le") for i in range(50)]
    pts = [7 + 4 * i + i % 3 for i in range(50)]
    write_clip(folder / "a.mkv", frames, pts=pts, time_base=Fraction(1, 100), audio="aac")
    stcodec.encode(folder / "a.mkv", folder / "a & b <1>.stp", model="dct", quality=45)
    return folder / "a & b <1>.stp"


class Browser:
    """Chromium without windows, spoken to by its debugging protocol over two pipes."""

    def __init__(self, folder: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        flags += " --mute-audio --remote-debugging-pipe --autoplay-policy=no-user-gesture-required"
        # It reads from 3 and writes to 4.
        start = (
            f"import os, sys; os.dup2({to_read}, 3); os.dup2({to_write}, 4); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                start,
                str(CHROMIUM),
                *flags.split(),
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._input = os.fdopen(self._read, "rb", buffering=0)
        self._rest, self._number = b"", 0
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write,
            json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0",
        )
        while True:
            while b"\0" not in self._rest:
                data = self._input.read(1 << 20)
                assert data, "the browser has gone"
                self._rest += data
            answer, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(answer)
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def go(self, url: str) -> None:
        self.ask("Page.navigate", self._session, url=url)

    def run(self, script: str) -> Any:
        result = self.ask(
            "Runtime.evaluate",
            self._session,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> Any:
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, (
                script,
                self.run("[video.currentTime, video.error && video.error.message]"),
            )
            time.sleep(0.1)
        return value

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._input.close()
        os.close(self._write)
