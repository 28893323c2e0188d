"""Rate, distortion and speed against other codecs."""
