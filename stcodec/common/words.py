"""What code points and marks of a video are called."""

from __future__ import annotations

from stcodec.common.values import FULL_RANGE, LIMITED_RANGE, PROGRESSIVE

# Of ITU-T H.273, as FFmpeg calls them, but for the two that everybody calls otherwise.
_PRIMARIES = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"},
    **{9: "bt2020", 10: "smpte428", 11: "smpte431 (DCI-P3)", 12: "smpte432 (Display P3)"},
    22: "ebu3213",
}
_TRANSFERS = {
    **{1: "bt709", 4: "gamma 2.2", 5: "gamma 2.8", 6: "smpte170m", 7: "smpte240m", 8: "linear"},
    **{9: "log", 10: "log sqrt", 11: "xvYCC", 12: "bt1361e", 13: "sRGB", 14: "bt2020-10"},
    **{15: "bt2020-12", 16: "PQ (smpte2084)", 17: "smpte428", 18: "HLG (arib-std-b67)"},
}
_MATRICES = {
    **{0: "RGB", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "YCgCo"},
    **{9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 14: "ICtCp"},
}
_RANGES = {LIMITED_RANGE: "limited range", FULL_RANGE: "full range"}
_FIELDS = {
    PROGRESSIVE: "progressive",
    "tt": "interlaced, top field first",
    "bb": "interlaced, bottom field first",
    "tb": "interlaced, bottom field first (top coded first)",
    "bt": "interlaced, top field first (bottom coded first)",
}


def colour_in_words(color_range: int, primaries: int, transfer: int, matrix: int) -> str:
    """Such as `bt2020, PQ (smpte2084), bt2020nc, limited range`; code points as in `VideoInfo`."""
    named = (
        (_PRIMARIES, primaries, "primaries"),
        (_TRANSFERS, transfer, "transfer"),
        (_MATRICES, matrix, "matrix"),
    )
    words = [
        names.get(value, f"{what} {value}")
        for names, value, what in named
        if value in names or value not in (0, 2)
    ]
    words = words[:1] if len(set(words)) == 1 and len(words) == len(named) else words
    words += [_RANGES[color_range]] if color_range in _RANGES else []
    return ", ".join(words) or "not said"


def field_order_in_words(order: str) -> str:
    """Of one of FIELD_ORDERS."""
    return _FIELDS[order]
