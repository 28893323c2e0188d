"""A page on this machine alone that plays a `.stp` file as fragmented MP4 while it is being
decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import numpy as np

from stcodec.common.files import check_input, is_standard_stream
from stcodec.common.interrupts import check_interrupt
from stcodec.common.values import PathLike, Picture, Planes, StreamInfo, VideoInfo
from stcodec.errors import DamagedFileError, StcodecError, UsageError
from stcodec.flows import player
from stcodec.flows.inspect import FileInfo
from stcodec.flows.inspect import info as file_info
from stcodec.flows.pace import Pace
from stcodec.flows.reading import StpInput, open_stp
from stcodec.media.writer import MediaWriter
from stcodec.options import AudioChoice, DecodeOptions

_HOST = "127.0.0.1"
# What browsers play in MP4.
_AUDIO = ("aac", "mp3", "opus", "flac")
# Connections at the same time, and seconds that one may take to say what it wants.
_MOST_CONNECTIONS = 16
_PATIENCE = 10.0
# For a viewer on the same machine bits cost nothing, and waiting does.
_CRF, _PRESET = 16, "ultrafast"
_ENCODER = {"tune": "zerolatency", "g": "48"}


class PlayServer:
    """Serves a page and streams of `source` under a secret path of a random port of the loopback
    address; a context manager.

    `log` is told what a user should know. Raises InputError and its kinds for a file that cannot be
    read, UsageError for a pipe.
    """

    def __init__(
        self, source: PathLike, options: DecodeOptions, log: Callable[[str], None]
    ) -> None:
        if is_standard_stream(source):
            raise UsageError("a page can be served of a file only, not of a pipe")
        check_input(source)
        self.source, self.options = os.fspath(source), options
        self._info = _readable_info(source)
        self.duration = _duration(self._info, options)
        self.pace = Pace()
        self.problem = ""
        self._log, self._said = log, set[str]()
        self._token = secrets.token_urlsafe(16)
        self._stopping = threading.Event()
        self._server = _Server((_HOST, 0), _Handler, self)
        self.url = f"http://{_HOST}:{self._server.server_port}/{self._token}/"

    def __enter__(self) -> PlayServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._server.hang_up()
        self._server.server_close()  # waits for the streams

    def run(self) -> None:
        """Serve until an exception, such as KeyboardInterrupt, ends it."""
        self._server.serve_forever(poll_interval=0.1)

    def allows(self, host: str) -> bool:
        """Whether a request names this server, and not a name that someone points to this
        machine."""
        return host in (f"{name}:{self._server.server_port}" for name in (_HOST, "localhost"))

    def place(self, path: str) -> str | None:
        """What follows the secret in a path; None without it."""
        secret, _, rest = path.removeprefix("/").partition("/")
        return rest if secrets.compare_digest(secret.encode(), self._token.encode()) else None

    def page(self, nonce: str) -> str:
        """The page that plays the stream."""
        return player.page(self.source, self._info, self.duration, nonce)

    def stream(self, start: float, body: _Body) -> bool:
        """Decode from `start` seconds on into `body`; False where it broke off, `problem` then says
        why."""
        self.problem = ""
        try:
            for _ in self._written(start, body):
                if self._stopping.is_set() or body.gone:
                    return False
        except StcodecError as error:
            self.problem = str(error)
            self.say(self.problem)
            return False
        return not body.gone

    def _written(self, start: float, body: _Body) -> Iterator[None]:
        begin = (self.options.start or 0.0) + start
        self.pace.begin()
        with _open(self.source, begin, self.options) as opened:
            reader = opened.reader
            audio = [i for i, s in enumerate(reader.streams) if s.kind == "audio"][:1]
            for number, other in enumerate(reader.streams):
                if number not in audio:
                    self.say(f"{other.kind} ({other.codec}) is not played")
            writer = _live_writer(body, opened.info, [reader.streams[i] for i in audio])
            items = opened.decoded(self.options.device, self.options.threads)
            # Also one that is left half-way has a decoder with threads, and an encoder to close.
            with contextlib.closing(items), contextlib.closing(writer):
                for item in items:
                    if isinstance(item, Picture):
                        planes = _playable_planes(item.planes, reader.header.bit_depth)
                        writer.write(dataclasses.replace(item, planes=planes))
                        self.pace.picture()
                    elif item.stream in audio:
                        writer.write(dataclasses.replace(item, stream=0))
                    yield

    def say(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self._said:
            self._said.add(text)
            self._log(text)


def _readable_info(source: PathLike) -> FileInfo | None:
    """What is in a file; None where only its last segment, which tells the duration, is damaged:
    what comes before that can be played. DamagedFileError for any other damage that is met."""
    try:
        return file_info(source)
    except DamagedFileError:
        with open_stp(source):
            return None


def _duration(found: FileInfo | None, options: DecodeOptions) -> float:
    """Seconds that are played; 0 for a file whose end is missing or damaged, in which there is no
    going to another place."""
    if found is None or not found.complete:
        return 0.0
    end = found.duration if options.end is None else min(options.end, found.duration)
    return max(0.0, end - (options.start or 0.0))


def _open(
    source: PathLike, begin: float, options: DecodeOptions
) -> contextlib.AbstractContextManager[StpInput]:
    return open_stp(source, begin or None, options.end, options.max_pixels)


def _live_writer(body: _Body, info: VideoInfo, sound: list[StreamInfo]) -> MediaWriter:
    """Fragmented MP4 that browsers play, with the sound as it is where they play that."""
    codec = "copy" if all(s.codec in _AUDIO for s in sound) else "aac"
    return MediaWriter(
        body,
        _playable(info),
        sound,
        metadata={},
        format="mp4",
        codec="libx264",
        crf=_CRF,
        preset=_PRESET,
        encoder_options=_ENCODER,
        audio=AudioChoice(codec),
        live=True,
    )


def _playable(info: VideoInfo) -> VideoInfo:
    """What every browser plays: 8 bits, even sizes."""
    return dataclasses.replace(
        info, width=info.width + info.width % 2, height=info.height + info.height % 2, bit_depth=8
    )


def _playable_planes(planes: Planes, bit_depth: int) -> Planes:
    if bit_depth > 8:
        shift = bit_depth - 8
        y, u, v = (((p + (1 << shift >> 1)) >> shift).clip(0, 255).astype(np.uint8) for p in planes)
    else:
        y, u, v = planes
    return np.pad(y, [(0, n % 2) for n in y.shape], mode="edge"), u, v


class _Body:
    """A file to write into whose bytes go out as chunks of HTTP/1.1; takes and drops everything
    once the reader has gone."""

    def __init__(self, stream: BinaryIO, pace: Pace) -> None:
        self._stream, self._pace = stream, pace
        self.gone = False

    def write(self, data: bytes) -> int:
        """Send some bytes; how many were taken."""
        if data and not self.gone:
            self._send(b"%x\r\n%b\r\n" % (len(data), bytes(data)))
        return len(data)

    def finish(self) -> None:
        """Say that this was all."""
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        try:
            self._pace.waiting(lambda: self._stream.write(data))
        except OSError:
            self.gone = True


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], play: PlayServer
    ) -> None:
        self.play = play
        self._connections: dict[socket.socket, bool] = {}
        """Whether it has what it asked for, the oldest first."""
        self._changing = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; notes the connection first, so that `hang_up` knows all of them.
        Where there are too many, the oldest that still waits makes room, or else this one.
        """
        with self._changing:
            waiting = [c for c, served in self._connections.items() if not served]
            full = len(self._connections) >= _MOST_CONNECTIONS
            if full and waiting:
                del self._connections[waiting[0]]
                _shut(waiting[0])
            if not full or waiting:
                self._connections[request] = False
        if not full or waiting:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called again and again while the server waits."""
        check_interrupt()

    def serve_stream(self, request: socket.socket) -> None:
        """A connection is being played from: it may take its time, and makes no room for others."""
        with self._changing:
            if request in self._connections:
                self._connections[request] = True
        request.settimeout(None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._changing:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections: those that wait for a request, and those whose browser reads no
        further."""
        with self._changing:
            for connection in self._connections:
                _shut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is a browser's right; the streams report their own errors."""


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's business."""

    def do_GET(self) -> None:
        """The page, a stream, how fast the last one is decoded, or what went wrong with it."""
        play = self.server.play
        url = urlsplit(self.path)
        place = play.place(url.path) if play.allows(self.headers.get("Host", "")) else None
        if place == "":
            nonce = secrets.token_urlsafe(12)
            self._answer(200, "text/html; charset=utf-8", play.page(nonce), nonce)
        elif place == "problem":
            self._answer(200, "text/plain; charset=utf-8", play.problem)
        elif place == "pace":
            pace = play.pace
            text = json.dumps({"pictures": pace.pictures, "rate": pace.rate})
            self._answer(200, "application/json", text)
        elif place == "video.mp4":
            self._stream(parse_qs(url.query).get("start", ["0"])[0])
        else:
            self._answer(404, "text/plain; charset=utf-8", "there is nothing here")

    def _stream(self, start: str) -> None:
        try:
            seconds = min(max(0.0, float(start)), 1e9)
        except ValueError:
            self._answer(400, "text/plain; charset=utf-8", "start is a number of seconds")
            return
        self.server.serve_stream(self.connection)
        self.send_response(200)
        self._common("video/mp4")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Accept-Ranges", "none")
        self.end_headers()
        self.close_connection = True
        body = _Body(self.wfile, self.server.play.pace)  # type: ignore[arg-type]
        if self.server.play.stream(seconds, body):
            body.finish()

    def _answer(self, code: int, kind: str, text: str, nonce: str = "") -> None:
        data = text.encode()
        self.send_response(code)
        self._common(kind)
        self.send_header("Content-Length", str(len(data)))
        allowed = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; " if nonce else ""
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; {allowed}media-src 'self'; connect-src 'self'",
        )
        self.end_headers()
        self.wfile.write(data)

    def _common(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
