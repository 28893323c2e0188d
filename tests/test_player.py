"""The page of `stcodec play --serve`, in a real browser where there is one."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest

import stcodec
from stcodec.flows.pace import Pace
from tests.conftest import psnr
from tests.serving import CHROMIUM, Browser, make_film, serving


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film"))


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


def test_the_page_says_what_is_played_and_how_fast(film: Path) -> None:
    with serving(film) as server:
        page = server.get(f"/{server.token}/")[2].decode()
        assert "<dt>pictures<dd>97 x 63, 10 bits" in page
        assert "<dt>sound<dd>aac" in page and "quality 45" in page
        for name in ("toggle", "back", "forward", "mute", "volume", "speed", "full", "pace"):
            assert f'id="{name}"' in page
        assert server.get(f"/{server.token}/video.mp4")[0] == 200
        status, headers, data = server.get(f"/{server.token}/pace")
        seen = json.loads(data)
        assert (status, headers["content-type"], seen["pictures"]) == (200, "application/json", 50)
        assert seen["rate"] > 0


def test_the_pace_is_that_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace()
    assert pace.rate is None

    def wait() -> None:
        now[0] += 60

    for _ in range(200):
        now[0] += 0.05
        pace.picture()
        # A reader that is slow says nothing of the decoder.
        pace.waiting(wait)
    assert pace.rate == pytest.approx(20)
    for _ in range(200):
        now[0] += 0.1
        pace.picture()
    assert pace.rate == pytest.approx(10)
    pace.begin()
    assert (pace.rate, pace.pictures) == (None, 0)

    def wait_beyond_the_end() -> None:
        now[0] += 60
        pace.begin()
        now[0] += 1

    # An old stream whose reader has gone may hear of that late.
    pace.waiting(wait_beyond_the_end)
    for _ in range(20):
        now[0] += 0.05
        pace.picture()
    assert pace.rate == pytest.approx(20)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH")
def test_keys_and_buttons_of_the_page(film: Path, tmp_path: Path) -> None:
    with serving(film) as server, contextlib.closing(Browser(tmp_path)) as browser:
        browser.go(f"http://127.0.0.1:{server.port}/{server.token}/")
        browser.wait("typeof keys !== 'undefined' && video.readyState >= 2")

        def press(key: str) -> None:
            browser.run(f"dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}}}))")

        browser.wait("pace.value.startsWith('decodes ')")
        press("5")
        browser.wait("video.currentSrc.includes('start=1.0') && video.readyState >= 2")
        if browser.run("video.ended"):
            press("0")
        press("k") if not browser.run("video.paused") else None
        assert browser.run("[video.paused, toggle.textContent]") == [True, "Play"]
        press("1")
        browser.wait("video.readyState >= 2 && start < 0.3")
        first = browser.run("now()")
        press(".")
        browser.wait("video.readyState >= 2 && !video.seeking")
        second = browser.run("now()")
        assert 0.02 < second - first < 0.08
        press(",")
        browser.wait("video.readyState >= 2 && !video.seeking")
        assert abs(browser.run("now()") - first) < 0.02
        assert browser.run("video.paused")
        press("m")
        assert browser.run("[video.muted, mute.textContent]") == [True, "Unmute"]
        press("ArrowDown")
        assert browser.run("[video.muted, Math.round(video.volume * 10)]") == [False, 9]
        press(">")
        assert browser.run("[video.playbackRate, speed.value]") == [1.25, "1.25"]
        press("<")
        press("<")
        assert browser.run("video.playbackRate") == 0.75
        browser.run("toggle.click()")
        browser.wait("!video.paused || video.ended")
        # Full screen needs a key that a person presses.
        for kind in ("keyDown", "keyUp"):
            browser.ask("Input.dispatchKeyEvent", browser._session, type=kind, key="f", text="f")
        browser.wait("document.fullscreenElement === player")
