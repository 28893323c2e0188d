"""Rate, distortion and speed against other codecs."""

ANCHOR = "x264-medium"
"""What every BD-rate is measured against: x264 as it is by default."""
