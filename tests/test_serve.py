"""`stcodec play --serve`: the page, the stream as PyAV reads it, who may ask for it, its end."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import signal
from fractions import Fraction
from pathlib import Path

import av
import pytest

import stcodec
from stcodec.flows.serve import PlayServer
from stcodec.options import DecodeOptions
from tests.conftest import psnr
from tests.media import frame_of, moving_planes, write_clip
from tests.serving import make_film, serving


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film"))


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
