"""`stcodec play --serve`: clients that ask for nothing cost little, and keep nobody out."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stcodec.flows import serve
from stcodec.flows.serve import PlayServer
from stcodec.options import DecodeOptions
from tests.test_container import write


@contextlib.contextmanager
def running(path: Path) -> Iterator[PlayServer]:
    """A server in a thread."""
    path.write_bytes(write())
    with PlayServer(path, DecodeOptions(), lambda text: None) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server._server.shutdown()
            thread.join()


def connect(server: PlayServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server._server.server_port), timeout=20)


def page(server: PlayServer) -> int:
    with urllib.request.urlopen(server.url, timeout=20) as answer:
        return int(answer.status)


def test_connections_are_few(tmp_path: Path) -> None:
    before = threading.active_count()
    with running(tmp_path / "a.stp") as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(3 * serve._MOST_CONNECTIONS)]
        assert page(server) == 200
        assert held[0].recv(1) == b""  # the oldest have made room
        assert threading.active_count() <= before + serve._MOST_CONNECTIONS + 2


def test_streams_make_no_room(tmp_path: Path) -> None:
    with running(tmp_path / "a.stp") as server, contextlib.ExitStack() as stack:
        played = [socket.socketpair() for _ in range(serve._MOST_CONNECTIONS)]
        for pair in played:
            for end in pair:
                stack.enter_context(end)
            server._server._connections[pair[0]] = False
            server._server.serve_stream(pair[0])
        late = stack.enter_context(connect(server))
        assert late.recv(1) == b""
        assert len(server._server._connections) == len(played)


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: "])
def test_those_who_ask_for_nothing_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(serve._Handler, "timeout", 0.2)
    with running(tmp_path / "a.stp") as server, connect(server) as waiting:
        waiting.sendall(said)
        assert waiting.recv(1) == b""
