"""Every number that the encoder chooses freely: another value makes other bits, and any decoder
reads them. What a choice was worth is told in docs/decisions.md.

Prices are Lagrangian: a bit of a frame is worth so much squared error in units of its squared
quantisation step size. Kinds of frames are 0 intra, 1 key, 2..4 the levels of two-sided frames.
"""

from __future__ import annotations

# --- Segments and scenes

MAX_SEGMENT = 128
"""Frames that a segment has at most, a multiple of 8: a seek decodes no more than these."""
CUT_CHANGE, CUT_HISTOGRAM = 0.06, 0.18
"""Mean absolute change of samples in [0, 1], and moved part of the histogram, beyond which there is
a cut."""
CUT_OVER_TYPICAL, CUT_MARGIN = 3.0, 0.03
"""A cut scores more than so many times what the pictures before did, and so much more."""
CUT_FADING = 0.7
"""Part of the typical score that is left after a picture."""

# --- Motion search, on source pictures

MOTION_BIT_COST = 1.2
"""Sum of absolute differences, in step sizes of a key frame, that is worth one bit of motion: the
search should rather find too much than too little."""
SHORTER_STEPS = (1.0, 1.8, 2.8)
"""How much better a shorter step must predict to be worth more frames at the key's quality: trees
0, 1, 2."""
KEY_REFERENCES = 2
"""How many frames a key frame is predicted from, 1 or 2, where there are as many."""
LONGER_STEP, LONGER_ERROR = 1.5, 6.5
"""How much worse a step of 16 frames may predict than one of 8 where two chunks become one tree,
and how far a sample of a quarter of the size may be off on the mean, of 255: what motion does not
predict looks alike over both."""
FOCUS_BITS = 16.0
"""A 16x16 block is not searched further if its whole difference is worth less than so many bits."""
VECTOR_BITS, VECTOR_UNIT = 1.7, 3.0
"""A component of a difference of vectors by d quarter samples is taken to cost
VECTOR_BITS * log2(VECTOR_UNIT * d + 1) bits."""
SPLIT_BITS, ALONE_BITS = 6.0, 1.5
"""What a 16x16 block must save before it is split, in bits, and what one reference alone costs
against both."""
REACH, REACH_PER_FRAME, MOST_REACH = 16, 12, 64
"""Samples that the full search looks around: a base, more by the distance in time, at most."""
REACHES_ACROSS = 15
"""Pictures that are wider than so many times the most are searched further, up to that part of
their width."""
TREE_REACH_PER_FRAME = 24
"""The same by distance in time where trees are compared, which looks at every second picture."""

# --- What was drawn rather than filmed

DRAWN_CONTRAST, DRAWN_ALIKE = 24, 24
"""An 8x8 block whose samples differ by at least so much looks drawn if so many of the 64 are
equal."""
DRAWN_SHARE, DRAWN_PART = 0.36, 0.1
"""A picture looks drawn if more than this share of its blocks with that contrast do, or this part
of all."""
DRAWN_ANEW = 20.0
"""What a patch of a predicted frame costs at least, in bits, that may be told sample by sample."""
DRAWN_GAIN, DRAWN_BITS, DRAWN_LEAST = 1.1, 2.0, 64.0
"""A patch is told sample by sample if that costs less than this part of what symbols would cost and
these bits, and there are such patches in a frame if they save so many bits at least."""
PALETTE_BITS, COLOUR_BITS = 0.4, 30.0
"""Part of the bits of samples by themselves that is left where neighbours are known, and what
another colour costs."""
MOVES, MOVED_LEAST = 4, 8
"""How many moves of parts of a drawn picture are offered to the search, and how many blocks must
have made each."""

# --- Choice of motion, on decoded references

FIRST_BITS, BITS_PER_OCTAVE = 5.0, 2.0
"""What a coefficient as large as a step costs in bits, where it is coded at all, and how many more
one twice as large costs."""
ROUNDING_ERROR = 0.1
"""Squared error of a coded coefficient, in units of step**2."""
TANGENTS = (1.5, 5.0, 24.0)
"""Sizes of coefficients, in steps, at which lines touch the curve of their bits."""

# --- Quantisation

RATE_WEIGHTS = (0.11, 0.18, 0.15, 0.20, 0.30)
"""Squared error in units of step**2 that is worth one bit, by kind of frame."""
PRICE_QUALITIES, PRICE_FACTORS = (10, 24, 38), (1.2, 1.2, 0.7)
"""What these are multiplied by at some qualities of a chunk: between them it is interpolated, and
beyond them it stays."""
FREQUENCY_PRICE = 0.6
"""How much dearer bits are at high frequencies: the natural logarithm, from constant brightness to
a cycle in two samples."""
FLOOR_BITS, FLOOR_BITS_PER_SYMBOL = 4.0, 0.001
"""What must be lost for want of a table, in bits, before a call raises index 0: the flag's own bits
and what raising costs per symbol."""

# --- Division of patches

DIVISION_BITS = 4.0
"""Bits by which a divided patch must seem cheaper than a whole one, by a rough estimate."""

# --- Activity

ACTIVITY_PSNR, ACTIVITY_SSIM = 0.05, 0.2
"""How much dearer bits are in texture, by what is wanted: see `activity.price_factors`."""
ACTIVITY_LEAST, ACTIVITY_RANGE = 9e-4, (-1.2, 1.1)
"""What is added to twice the variance of samples in [0, 1], and the natural logarithms of the least
and greatest factor."""

# --- Propagation

CASCADE_SHARES = (0.74, 0.82, 0.90)
"""How much of the key frames of a chunk must last for numbers 1, 2 and 3 of `tree.CASCADES`."""
FIRST_CASCADE = 1
"""The least of `tree.CASCADES` that the first chunk of a segment has: all others inherit from its
intra frame."""
ENDING_CASCADE = 5
"""Which of `tree.CASCADES` the last chunk of a scene has, from whose key frames nothing later is
predicted; 0: the one that any other chunk would have."""
LASTING_PRICE = 0.5
"""The price of a bit where nothing changes, against where everything does."""
HALF_WAY = 0.1
"""Mean squared change, in units of step**2, that is half way in between."""

# --- Temporal filter of intra and key frames

FILTER_SPREAD, FILTER_LEAST_STEP = 9.0, 2.0
"""How far a sample may differ from another picture's and still count much: so many units of 1 / 255
for each octave that the key frames' step lies above the least one, in the same units."""
FILTER_ERROR = 4.0
"""A block's mean squared error that divides its weight by e: the square of that, over this."""
FILTER_WEIGHTS = (0.7, 0.58, 0.0, 0.45)
"""Weights of pictures one, two and more away, against 1 of the frame itself. Those at distances
that are a power of two have motion anyway."""
FILTER_LEVELS = (1.0, 0.5, 0.0, 0.0, 0.0)
"""What these are multiplied by, by level of a tree."""

# --- Adaptive loop filter

LOOP_FILTER_KINDS = (1, 1, 1, 0)
"""In which kinds of frames a change may be fitted."""
LOOP_FILTER_LEAST = 0.003
"""Which part of the squared error a change that holds must save: filtering takes time."""
LOOP_FILTER_BLOCKS = 8000
"""How many 4x4 blocks of a frame's luma, and of its chroma, are looked at for a fit, about."""
LOOP_FILTER_BIT, LOOP_FILTER_RIDGE = 0.5, 0.01
"""What a bit of a new change costs, against one of a symbol: it goes on to serve other frames. And
by how much weights are drawn towards those before: so many bits for the square of a unit."""

# --- Pictures between pictures

BETWEEN_BIT_COST = 0.005
"""As MOTION_BIT_COST, but in samples of [0, 1]: motion that is likely rather than cheap."""
BETWEEN_REFINEMENTS = (2, 1)
"""Quarter samples by which the motion of a block is changed in turn."""
BETWEEN_UNLIKELY, BETWEEN_MOST_UNLIKELY = 0.0002, 32
"""Mean absolute difference, of samples in [0, 1], that is worth a quarter sample of motion other
than what is around; and the most of these that count."""
