"""`stcodec play --serve`: the page, the stream as PyAV reads it, who may ask for it, its end, and a
real browser."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import stcodec
from stcodec.flows.serve import PlayServer
from stcodec.options import DecodeOptions
from tests.conftest import psnr
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
    process = subprocess.Popen(
        [sys.executable, "-m", "stcodec", "play", str(path), "--serve", "--no-open", *more],
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


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 pictures of 97x63 in 10 bits with sound; the time stamps are not regular and do not start
    at zero."""
    folder = tmp_path_factory.mktemp("film")
    frames = [frame_of(moving_planes(97, 63, i, 10), "yuv420p10le") for i in range(50)]
    pts = [7 + 4 * i + i % 3 for i in range(50)]
    write_clip(folder / "a.mkv", frames, pts=pts, time_base=Fraction(1, 100), audio="aac")
    stcodec.encode(folder / "a.mkv", folder / "a & b <1>.stp", model="dct", quality=45)
    return folder / "a & b <1>.stp"


def boxes(data: bytes) -> list[str]:
    """The types of the boxes of an MP4 file, one after another."""
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    assert at == len(data)
    return found


def test_the_stream_holds_pictures_and_sound(film: Path) -> None:
    with serving(film) as server:
        status, headers, page = server.get(f"/{server.token}/")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<title>a &amp; b &lt;1&gt;.stp</title>" in page and b"<video" in page
        assert not re.search(rb"https?://", page)
        assert "default-src 'none'" in headers["content-security-policy"]
        status, headers, data = server.get(f"/{server.token}/video.mp4")
        later = server.get(f"/{server.token}/video.mp4?start=1.5")[2]
    assert (status, headers["content-type"], headers["transfer-encoding"]) == (
        200,
        "video/mp4",
        "chunked",
    )
    order = boxes(data)
    assert (
        order[:2] == ["ftyp", "moov"]
        and order.count("moof") >= 4
        and order.count("moof") == order.count("mdat")
    )
    video = stcodec.open(film)
    base = video.info.time_base
    with av.open(io.BytesIO(data)) as container:
        shown = [
            (f.pts * f.time_base, f.to_ndarray(format="yuv420p")) for f in container.decode(video=0)
        ]
    assert [t for t, _ in shown] == [p.pts * base for p in video]
    for (_, picture), wanted in zip(shown, video, strict=True):
        assert picture.shape == (96, 98)  # 98x64 in 4:2:0
        assert psnr(picture[:63, :97], wanted.planes[0] / 4) > 40
    with av.open(io.BytesIO(data)) as container, av.open(str(film.parent / "a.mkv")) as source:
        sound, wanted_sound = (
            [bytes(p) for p in c.demux(audio=0) if p.size] for c in (container, source)
        )
        assert sound == wanted_sound
    with av.open(io.BytesIO(later)) as container:
        times = [f.pts * f.time_base for f in container.decode(video=0)]
    assert len(times) == sum(t >= Fraction(3, 2) for t in video.times())
    assert times[0] < 0.05


def test_who_may_ask_and_sound_that_no_browser_plays(tmp_path: Path) -> None:
    write_clip(
        tmp_path / "a.mkv",
        [frame_of(moving_planes(64, 48, i)) for i in range(9)],
        audio="pcm_s16le",
    )
    stcodec.encode(tmp_path / "a.mkv", tmp_path / "a.stp", model="dct")
    with serving(tmp_path / "a.stp") as server:
        with av.open(io.BytesIO(server.get(f"/{server.token}/video.mp4")[2])) as container:
            assert [s.codec_context.name for s in container.streams] == ["h264", "aac"]
            assert sum(len(list(p.decode())) for p in container.demux(audio=0)) >= 9 * 1920 // 1024
        for path in (
            "/",
            "/video.mp4",
            "/x/video.mp4",
            f"/{server.token[:-1]}/",
            f"/{server.token}/../a",
            f"/{server.token}/x",
        ):
            assert server.get(path)[0] == 404, path
        for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1:{server.port + 1}"):
            assert server.get(f"/{server.token}/", host)[0] == 404
        assert server.get(f"/{server.token}/", f"localhost:{server.port}")[0] == 200
        assert server.get(f"/{server.token}/video.mp4?start=x")[0] == 400
        if Path("/proc/net/tcp").exists():
            lines = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
            listening = re.findall(
                rf"^ *\d+: (\w+):{server.port:04X} \w+:0000 0A", lines, re.MULTILINE
            )
            assert listening == ["0100007F"]  # 127.0.0.1 alone


def test_it_streams_while_it_decodes_and_ends_on_an_interrupt(film: Path, tmp_path: Path) -> None:
    from stcodec.container.records import VideoChunk
    from stcodec.container.stp import Reader, Writer

    # The same pictures again and again: long enough not to be done before the first of them is
    # asked for.
    long = tmp_path / "long.stp"
    with open(film, "rb") as source, open(long, "wb") as target:
        reader = Reader(source)
        chunks = [item for item in reader if isinstance(item, VideoChunk)]
        writer = Writer(target, reader.header)
        step = chunks[-1].pts[-1] + 4
        for round_ in range(400):
            for c in chunks:
                pts = tuple(p + round_ * step for p in c.pts)
                writer.write_chunk(VideoChunk(c.first, pts, c.durations, c.payload))
        writer.close()
    with serving(long, folder=tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"/{server.token}/video.mp4")
        answer = connection.getresponse()
        start = b""
        while b"moof" not in start:
            start += answer.read1(65536)
        # One that waits, and one that reads no further: neither keeps the command from ending.
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        idle.request("GET", f"/{server.token}/")
        assert idle.getresponse().read()
        other = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        other.request("GET", f"/{server.token}/video.mp4?start=100")
        other.getresponse().read(1000)
        server.process.send_signal(signal.SIGINT)
        _, err = server.process.communicate(timeout=30)
        assert server.process.returncode == 130
        assert err.strip().splitlines() == ["stcodec: interrupted"]
        with contextlib.suppress(http.client.HTTPException, OSError):
            while data := answer.read1(1 << 20):
                start += data
        with av.open(io.BytesIO(start)) as container:
            assert container.streams.video[0].width == 98
        for end in (connection, idle, other):
            end.close()
    assert [p.name for p in tmp_path.iterdir()] == ["long.stp"]


def test_a_damaged_file_breaks_off_and_says_why(film: Path, tmp_path: Path) -> None:
    data = bytearray(film.read_bytes())
    with stcodec.open(film) as video:
        where = video._access.index.footer.index_offset - 200  # in the last chunk
    data[where] ^= 1
    (tmp_path / "bad.stp").write_bytes(data)
    with serving(tmp_path / "bad.stp") as server:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.get(f"/{server.token}/video.mp4")
        assert b"bad.stp: " in server.get(f"/{server.token}/problem")[2]
    for name, text in (("missing.stp", "no such file"), ("-", "not of a pipe")):
        with pytest.raises(stcodec.StcodecError, match=text):
            PlayServer(name, DecodeOptions(), print)


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


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH")
def test_a_browser_plays_it(film: Path, tmp_path: Path) -> None:
    with serving(film) as server, contextlib.closing(Browser(tmp_path)) as browser:
        browser.go(f"http://127.0.0.1:{server.port}/{server.token}/")
        browser.wait("typeof video !== 'undefined' && (video.ended || video.error)")
        state = browser.run("[video.error, video.videoWidth, video.videoHeight, video.currentTime]")
        sound = browser.run("video.webkitAudioDecodedByteCount")
        shown = browser.run("video.getVideoPlaybackQuality().totalVideoFrames")
        assert state[:3] == [None, 98, 64]
        assert 1.9 < state[3] < 2.6
        assert sound > 10_000
        assert shown >= 45
        # What is on the screen at the end is the last picture.
        grey = (
            "(() => { const c = document.createElement('canvas'); c.width = 98; c.height = 64;"
            " const x = c.getContext('2d'); x.drawImage(video, 0, 0);"
            " return Array.from(x.getImageData(0, 0, 98, 64).data) })()"
        )
        rgb = np.array(browser.run(grey), np.uint8).reshape(64, 98, 4)[:63, :97, :3]
        wanted = stcodec.open(film, dtype="int16")[-1:].tensors(rgb=True)[0]
        assert psnr(rgb, (wanted.permute(1, 2, 0).numpy() / 1023 * 255)) > 28
        # The slider asks for the stream from there on.
        browser.run("position.value = 1.5; position.dispatchEvent(new Event('change'))")
        browser.wait("video.ended && video.currentSrc.endsWith('start=1.5')")
        assert 0.3 < browser.run("video.currentTime") < 1.1
        assert browser.run("time.value").endswith("0:02")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
