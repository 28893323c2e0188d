"""Which field of an interlaced frame is shown first. PyAV tells and sets it by way of FFmpeg's
filters alone."""

from __future__ import annotations

from typing import Any

from av.filter import Graph

from stcodec.common.values import FIELD_ORDERS, PROGRESSIVE


def field_order(frame: Any, stream: Any) -> str:
    """One of FIELD_ORDERS, by the frame and by what its stream says; FFmpeg numbers them from 1.
    Where the two differ in the field that is shown first, players go by the frame."""
    number = stream.codec_context.field_order
    order = FIELD_ORDERS[number - 1] if 1 <= number <= len(FIELD_ORDERS) else PROGRESSIVE
    if not frame.interlaced_frame:
        return order
    first = "t" if _top_is_first(frame) else "b"
    return order if order.endswith(first) and order != PROGRESSIVE else 2 * first


def _top_is_first(frame: Any) -> bool:
    graph = _graph(frame, "select", r"eq(interlace_type\,TOPFIRST)")
    graph.push(frame)
    graph.push(None)
    try:
        graph.pull()
    except EOFError:  # the frame was not selected
        return False
    return True


class FieldMarker:
    """Marks frames of one size, format and time base as interlaced, in a field order other than
    progressive. Encoders write into their stream what the frame says."""

    def __init__(self, order: str) -> None:
        self._mode = "tff" if order.endswith("t") else "bff"
        self._graph: Graph | None = None

    def mark(self, frame: Any) -> Any:
        """The frame, marked."""
        if self._graph is None:
            self._graph = _graph(frame, "setfield", f"mode={self._mode}")
        self._graph.push(frame)
        return self._graph.pull()


def _graph(frame: Any, name: str, arguments: str) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base,
    )
    chosen, sink = graph.add(name, arguments), graph.add("buffersink")
    source.link_to(chosen)
    chosen.link_to(sink)
    graph.configure()
    return graph
