"""Files as cameras, editors and broken disks leave them. PyAV, Pillow or FFmpeg make each one, the
command reads it as a user would have it do, and PyAV reads the result."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tests.conftest import run
from tests.media import clip, copy, demuxed, lag, moving_planes, times, waveform, write_clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ORIENTATION, TURN_CLOCKWISE = 0x0112, 6


def through(source: Path, ending: str = "mp4") -> tuple[Path, list[str]]:
    """`source`, encoded and decoded by the command; the result, and what encode said."""
    coded = source.with_suffix(".stp")
    done = run("encode", source, coded, "--model", "dct", "--effort", 0, "-y")
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if "note:" in line]
    return decoded(coded, ending), notes


def decoded(coded: Path, ending: str) -> Path:
    """What the command makes of a coded video."""
    target = coded.with_name(f"out.{ending}")
    done = run("decode", coded, target, "-y")
    assert done.returncode == 0, done.stderr
    return target


def ffmpeg(*arguments: object) -> str:
    """Run FFmpeg; what it says."""
    command = [FFMPEG, "-hide_banner", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


# --- side data


def camera_picture(path: Path) -> Path:
    """A picture with EXIF, as a camera that was held upright writes it."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_CLOCKWISE
    picture = Image.fromarray(moving_planes(64, 48, 0)[0]).convert("RGB")
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("ending", ["jpg", "tif", "avi", "mkv", "mov"])
def test_pictures_with_exif(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"in.{ending}"
    if ending in ("jpg", "tif"):
        camera_picture(source)
    else:
        picture = camera_picture(tmp_path / "picture.jpg").read_bytes()
        with av.open(str(source), "w") as out:
            video: Any = out.add_stream("mjpeg", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
            for i in range(4):
                packet: Any = av.Packet(picture)
                packet.pts = packet.dts = i
                packet.time_base, packet.stream = Fraction(1, 25), video
                packet.is_keyframe = True
                out.mux(packet)
    target, _ = through(source)
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == (1 if ending in ("jpg", "tif") else 4)
    assert (frames[0].width, frames[0].height) == (64, 48)
    if ending != "tif":  # FFmpeg's TIFF decoder tells nobody of the orientation
        assert round(-frames[0].rotation) % 360 == 90
    luma = frames[0].to_ndarray(format="gray").astype(float)
    assert np.abs(luma - moving_planes(64, 48, 0)[0]).mean() < 4


# --- damage


def with_damage(source: Path, target: Path, *numbers: int) -> Path:
    """A copy, in which those packets of the video are noise."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in whole.streams}
        count = 0
        for packet in whole.demux():
            if not packet.size:
                continue
            data = bytes(packet)
            if packet.stream.type == "video":
                data = b"\x55" * len(data) if count in numbers else data
                count += 1
            again: Any = av.Packet(data)
            again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
            again.time_base, again.is_keyframe = packet.time_base, packet.is_keyframe
            again.stream = streams[packet.stream.index]
            out.mux(again)
    return target


@pytest.mark.parametrize(("codec", "ending"), [("mjpeg", "avi"), ("ffv1", "mkv"), ("png", "mov")])
def test_packets_that_cannot_be_decoded(tmp_path: Path, codec: str, ending: str) -> None:
    pix_fmt = {"mjpeg": "yuvj420p", "ffv1": "yuv420p", "png": "rgb24"}[codec]
    frames = [f.reformat(format=pix_fmt) for f in clip(16)]
    whole = write_clip(tmp_path / f"whole.{ending}", frames, codec, audio="pcm_s16le")
    source = with_damage(whole, tmp_path / f"in.{ending}", 10, 11)
    target, notes = through(source)
    assert len([n for n in notes if "2 video packets cannot be decoded" in n]) == 1
    assert times(target) == [t for i, t in enumerate(times(whole)) if i not in (10, 11)]
    assert abs(lag(waveform(whole), waveform(target))) <= 48
    coded = tmp_path / "strict.stp"
    strict = run("encode", source, coded, "--strict", "--model", "dct")
    assert strict.returncode == 3
    assert f"{source.name}: a video packet at 0.40 s cannot be decoded" in strict.stderr
    assert not coded.exists()
    assert run("encode", whole, coded, "--strict", "--model", "dct").returncode == 0


# --- fields


@pytest.mark.parametrize("first", ["tff", "bff"])
def test_the_bitstream_says_which_field_comes_first(tmp_path: Path, first: str) -> None:
    source = tmp_path / "in.mpg"
    interlace = f"interlace=scan={first},setfield={first},format=yuv420p"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=96x64:r=50:d=0.4", "-vf", interlace),
        *("-flags", "+ilme+ildct", "-c:v", "mpeg2video", "-q:v", "3", source),
    )
    through(source)
    for ending in ("mkv", "mp4"):
        target = decoded(tmp_path / "in.stp", ending)
        said = ffmpeg("-i", target, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-")
        bottom = [line.split()[-1] for line in said.splitlines() if "cnt_bottom " in line]
        assert len(bottom) >= 10
        assert set(bottom) == {"1" if first == "tff" else "-1"}
        with av.open(str(target)) as container:
            assert container.streams.video[0].codec_context.field_order == (2, 3)[first == "bff"]
    letter = b"It" if first == "tff" else b"Ib"
    target = decoded(tmp_path / "in.stp", "y4m")
    assert letter in target.read_bytes().split(b"\n")[0].split()
    # DV in AVI: the stream says nothing of its fields, the frames do.
    silent = tmp_path / "silent.avi"
    graph = f"testsrc2=s=720x576:r=50:d=0.04,{interlace}"
    ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "dvvideo", silent)
    target, _ = through(silent, "y4m")
    assert letter in target.read_bytes().split(b"\n")[0].split()


# --- times


@pytest.mark.parametrize(("first", "second"), [(3600, 0), (0, 3600), (70000, 0), (5, 0)])
def test_recordings_that_were_joined(tmp_path: Path, first: int, second: int) -> None:
    source = tmp_path / "in.ts"
    for offset in (first, second):
        part = tmp_path / f"{offset}.ts"
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.48"),
            *("-f", "lavfi", "-i", "sine=r=48000:d=0.48", "-c:v", "libx264", "-c:a", "aac"),
            *("-output_ts_offset", offset, part),
        )
        with source.open("ab") as joined:
            joined.write(part.read_bytes())
    target, notes = through(source)
    assert len([n for n in notes if "the times jump" in n]) == 1
    assert not [n for n in notes if "cut off" in n]
    shown = times(target)
    assert len(shown) == 24
    gaps = [float(b - a) for a, b in itertools.pairwise(shown)]
    assert gaps == pytest.approx([0.04] * 23, abs=0.001)
    heard = [float(p.pts * p.time_base) for p in demuxed(target)]
    gaps = [b - a for a, b in itertools.pairwise(heard)]
    assert max(gaps) < 0.05
    assert heard[-1] - heard[0] == pytest.approx(0.96, abs=0.1)


def test_packets_of_sound_with_the_time_of_another(tmp_path: Path) -> None:
    whole, source = tmp_path / "whole.mkv", tmp_path / "in.mkv"
    write_clip(whole, clip(25), "libx264", audio="aac")
    with av.open(str(whole)) as old, av.open(str(source), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in old.streams}
        sounds = 0
        for packet in old.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio":
                sounds += 1
                if sounds in (8, 20):
                    packet.pts, packet.dts = packet.pts - 21, packet.dts - 21
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    before = [p.dts for p in demuxed(source)]
    assert len(before) - len(set(before)) >= 1
    _, notes = through(source)
    assert len([n for n in notes if "packets of sound were not later" in n]) == 1
    for ending in ("mp4", "mov"):
        target = decoded(tmp_path / "in.stp", ending)
        found = [p.dts for p in demuxed(target)]
        assert found == sorted(set(found))
        assert [bytes(p) for p in demuxed(target)] == [bytes(p) for p in demuxed(source)]


@pytest.mark.parametrize(
    ("size", "pix_fmt", "rate"),
    [("720x576", "yuv420p", Fraction(25)), ("720x480", "yuv411p", Fraction(30000, 1001))],
)
def test_raw_dv(tmp_path: Path, size: str, pix_fmt: str, rate: Fraction) -> None:
    source = tmp_path / "in.dv"
    graph = f"testsrc2=s={size}:r={rate}:d=0.08"
    ffmpeg("-f", "lavfi", "-i", graph, "-pix_fmt", pix_fmt, source)
    target, _ = through(source)
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == rate
        assert container.streams.video[0].guessed_rate == rate
    shown = times(target)
    assert [float(t) for t in shown] == pytest.approx([i / rate for i in range(len(shown))])
    assert len(shown) in (2, 3)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4"])
def test_the_last_picture_is_shown_as_long_as_it_was(tmp_path: Path, codec: str) -> None:
    frames = clip(6)
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    pts = [0, 5000, 10000, 15000, 20000, 20400]
    write_clip(source, frames, "libx264", pts=pts, time_base=Fraction(1, 1000))
    copy(source, target, codec=codec)
    lengths = []
    for path in (source, target):
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            lengths.append(float(video.duration * video.time_base))
    assert lengths[0] == pytest.approx(20.44, abs=0.001)
    assert lengths[1] == pytest.approx(lengths[0], abs=0.001)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_knows_no_times_of_pictures_that_are_coded_early(tmp_path: Path, codec: str) -> None:
    source = tmp_path / "in.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-c:v", codec, "-bf", "2", source)
    target, notes = through(source)
    shown = times(target)
    assert len(shown) == 25 and not [n for n in notes if "repaired" in n]
    gaps = [float(b - a) for a, b in itertools.pairwise(shown)]
    assert gaps == pytest.approx([0.04] * 24, abs=1e-6)


def test_sound_with_several_packets_in_a_millisecond(tmp_path: Path) -> None:
    """TrueHD, as on discs: 40 samples each, in a file that knows whole milliseconds."""
    source = tmp_path / "in.mkv"
    chirp = "aevalsrc=0.3*sin(2*PI*(300*t+1000*t*t)):d=1:s=48000"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-f", "lavfi", "-i", chirp),
        *("-c:v", "libx264", "-c:a", "truehd", "-strict", "-2", "-ac", "2", source),
    )
    for ending in ("mkv", "mp4"):
        target, notes = through(source, ending)
        assert not [n for n in notes if "repaired" in n]
        assert abs(lag(waveform(source), waveform(target))) <= 96
        assert abs(len(np.flatnonzero(waveform(target))) - 48000) < 2400


def test_transparency_beside_the_pictures_is_said(tmp_path: Path) -> None:
    source = tmp_path / "in.webm"
    graph = "testsrc2=s=64x48:r=25:d=0.2,format=yuva420p"
    ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libvpx-vp9", "-threads", "1", source)
    _, notes = through(source)
    assert len([n for n in notes if "transparency is lost" in n]) == 1


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    picture, source = camera_picture(tmp_path / "cover.jpg"), tmp_path / "song.mp3"
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=0.3", "-i", picture, "-map", "0", "-map", "1"),
        *("-c:a", "libmp3lame", "-c:v", "copy", "-disposition:v", "attached_pic", source),
    )
    with av.open(str(source)) as container:
        assert len(container.streams.video) == 1
    done = run("encode", source, tmp_path / "song.stp", "--model", "dct")
    assert done.returncode == 3
    assert f"{source}: holds no video beside a cover" in done.stderr
    assert not (tmp_path / "song.stp").exists()


def without_times(data: bytes, count: int) -> bytes:
    """MPEG-TS whose first packets of video have no time stamps: those of the PES headers are
    stuffing (ISO/IEC 13818-1, 2.4.3.6)."""
    out, done = bytearray(data), 0
    for at in range(0, len(out), 188):
        begins, adapted = out[at + 1] & 0x40, out[at + 3] & 0x20
        header = at + 4 + (1 + out[at + 4] if adapted else 0)
        if begins and done < count and out[header : header + 4] == b"\0\0\1\xe0":
            out[header + 7] &= 0x3F
            length = out[header + 8]
            out[header + 9 : header + 9 + length] = b"\xff" * length
            done += 1
    assert done == count
    return bytes(out)


def test_first_pictures_without_time_stamps(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.ts", clip(30), "libx264", audio="aac")
    source = tmp_path / "in.ts"
    source.write_bytes(without_times(whole.read_bytes(), 5))
    with av.open(str(source)) as container:
        assert [f.pts is None for f in container.decode(video=0)] == [True] * 5 + [False] * 25
    target, _ = through(source)
    apart = []
    for path in (whole, target):
        first = min(float(p.pts * p.time_base) for p in demuxed(path))
        apart.append(float(times(path)[0]) - first)
    assert len(times(target)) == 30
    assert apart[1] == pytest.approx(apart[0], abs=0.001)
    assert times(target)[29] - times(target)[0] == pytest.approx(29 / 25, abs=0.001)


# --- pieces and sequences


@pytest.mark.parametrize("ending", ["ts", "mkv"])
def test_what_begins_late_begins_at_zero(tmp_path: Path, ending: str) -> None:
    """A recording of a channel that had run for hours, a piece of a longer film."""
    chapters, source = tmp_path / "chapters.txt", tmp_path / f"in.{ending}"
    chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/10\nSTART=2\nEND=6\ntitle=A\n")
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1"),
        *("-i", chapters, "-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", 50000, source),
    )
    target, notes = through(source, "mkv")
    assert len([n for n in notes if "which becomes zero" in n]) == (ending == "mkv")
    before, after = times(source), times(target)
    apart = [
        min(p.pts * p.time_base for p in demuxed(path)) - times(path)[0]
        for path in (source, target)
    ]
    assert apart[0] == pytest.approx(apart[1], abs=0.002)
    assert -0.1 < after[0] < 0.2
    assert [float(t - after[0]) for t in after] == pytest.approx(
        [float(t - before[0]) for t in before], abs=0.001
    )
    with av.open(str(target)) as container:
        assert container.duration / av.time_base < 1.2
        begins = [c["start"] * c["time_base"] for c in container.chapters()]
    assert begins == ([] if ending == "ts" else [pytest.approx(0.2, abs=0.05)])


def test_an_animation_is_more_than_its_cover(tmp_path: Path) -> None:
    source = tmp_path / "in.avif"
    clip = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2")
    ffmpeg(*clip, "-c:v", "libaom-av1", "-cpu-used", 8, source)
    target, _ = through(source)
    assert len(times(target)) == 5
    ffmpeg(*clip, "-c:v", "libwebp_anim", tmp_path / "in.webp")
    done = run("encode", tmp_path / "in.webp", tmp_path / "out.stp", "--model", "dct")
    assert done.returncode == 3
    assert "animated WebP" in done.stderr and "convert it" in done.stderr


def test_sound_that_a_cut_has_hidden_is_not_played(tmp_path: Path) -> None:
    """A copy of a part: its edit list hides pictures and sound up to where it begins."""
    whole, source = tmp_path / "whole.mp4", tmp_path / "in.mp4"
    chirp = "aevalsrc=0.3*sin(2*PI*(300*t+1000*t*t)):d=2:s=48000"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-f", "lavfi", "-i", chirp),
        *("-c:v", "libx264", "-g", 50, "-c:a", "aac", whole),
    )
    ffmpeg("-ss", 0.7, "-i", whole, "-c", "copy", source)
    assert min(p.pts * p.time_base for p in demuxed(source)) < -0.6
    target, _ = through(source, "mkv")
    assert -0.13 < min(p.pts * p.time_base for p in demuxed(target)) < 0
    assert times(target)[0] == pytest.approx(times(source)[0], abs=0.001)
    assert abs(lag(waveform(source), waveform(target))) <= 96
