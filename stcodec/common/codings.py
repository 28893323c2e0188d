"""What FFmpeg calls a coding, where all that is known is the decoder that has read it."""

from __future__ import annotations

# Of sound and pictures: the short names of subtitles, `srt` and `ssa`, are those that people know.
_BY_DECODER = {
    "aac_fixed": "aac",
    "ac3_fixed": "ac3",
    "als": "mp4als",
    "amrnb": "amr_nb",
    "amrwb": "amr_wb",
    "atrac3plus": "atrac3p",
    "atrac3plusal": "atrac3pal",
    "camstudio": "cscd",
    "camtasia": "tscc",
    "dca": "dts",
    "eacmv": "cmv",
    "eamad": "mad",
    "eatgq": "tgq",
    "eatgv": "tgv",
    "eatqi": "tqi",
    "flv": "flv1",
    "g722": "adpcm_g722",
    "g726": "adpcm_g726",
    "g726le": "adpcm_g726le",
    "idcinvideo": "idcin",
    "iff": "iff_ilbm",
    "libdav1d": "av1",
    "libopencore_amrnb": "amr_nb",
    "libopencore_amrwb": "amr_wb",
    "libopus": "opus",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "mp1float": "mp1",
    "mp2float": "mp2",
    "mp3adufloat": "mp3adu",
    "mp3float": "mp3",
    "mp3on4float": "mp3on4",
    "mpc7": "musepack7",
    "mpc8": "musepack8",
    "mpegvideo": "mpeg2video",
    "msmpeg4": "msmpeg4v3",
    "on2avc": "avc",
    "real_144": "ra_144",
    "real_288": "ra_288",
    "roqvideo": "roq",
    "smackaud": "smackaudio",
    "smackvid": "smackvideo",
    "ultimotion": "ulti",
    "vqavideo": "ws_vqa",
    "ws_snd1": "westwood_snd1",
    "xl": "vixl",
}


def coding(name: str) -> str:
    """The coding of sound or pictures by the name of its decoder; any other name as it is."""
    return _BY_DECODER.get(name, name)
