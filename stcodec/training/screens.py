"""Pages of text and user interface, drawn at random: what scrolls in screen content."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stcodec.training.pack import Planes8, planes_of_rgb

Colour = tuple[int, int, int]
_LETTERS = "eeeeetttaaaoooiiinnnsssrrrhhlldduucmwfgypbvk"


def _words(rng: random.Random, count: int) -> str:
    words = (
        "".join(rng.choice(_LETTERS) for _ in range(rng.choice((1, 2, 3, 4, 5, 5, 6, 7, 9))))
        for _ in range(count)
    )
    return " ".join(w.capitalize() if rng.random() < 0.12 else w for w in words)


def _colour(rng: random.Random, dark: bool) -> Colour:
    low, high = (0, 90) if dark else (170, 256)
    return rng.randrange(low, high), rng.randrange(low, high), rng.randrange(low, high)


class _Page:
    def __init__(self, rng: random.Random, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.dark = rng.random() < 0.4
        grey = rng.choice((18, 30, 40)) if self.dark else rng.choice((255, 255, 248, 240))
        ground = (grey, grey, grey) if rng.random() < 0.7 else _colour(rng, self.dark)
        self.image = Image.new("RGB", (width, height), ground)
        self.draw = ImageDraw.Draw(self.image)

    def ink(self) -> Colour:
        grey = self.rng.choice((200, 230, 255)) if self.dark else self.rng.choice((0, 30, 60))
        return (grey, grey, grey) if self.rng.random() < 0.75 else _colour(self.rng, not self.dark)

    def text(self, left: int, right: int, top: int, bottom: int) -> None:
        """Paragraphs, or coloured code, from top to bottom."""
        rng = self.rng
        size = rng.choice((9, 10, 11, 12, 13, 14, 16, 20))
        code = rng.random() < 0.3
        ink = self.ink()
        y = top
        while y < bottom - size:
            heading = rng.random() < 0.07
            font = ImageFont.load_default(size * (1.6 if heading else 1.0))
            x, line = left, int(size * (2.1 if heading else 1.35))
            if code:
                x += rng.choice((0, 0, 1, 1, 2, 3)) * 2 * size
                while x < left + (right - left) * rng.random():
                    word = _words(rng, 1) + rng.choice(("(", ")", " = ", ".", ": ", ", "))
                    self.draw.text(
                        (x, y), word, font=font, fill=ink if rng.random() < 0.5 else self.ink()
                    )
                    x += int(font.getlength(word)) + 4
            elif rng.random() < 0.9:
                words = _words(rng, max(1, int((right - left) / (size * 2.4))))
                short = rng.random() if rng.random() < 0.2 else 1.0
                self.draw.text(
                    (x, y), words[: max(3, int(len(words) * short))], font=font, fill=ink
                )
            y += line

    def boxes(self, count: int) -> None:
        """Buttons, cards, bars, icons."""
        rng = self.rng
        for _ in range(count):
            w, h = rng.randrange(16, self.width // 2), rng.choice((12, 18, 24, 36, 80, 140))
            x, y = rng.randrange(0, self.width - 16), rng.randrange(0, self.height - 12)
            fill = _colour(rng, rng.random() < 0.4)
            shape = (x, y, x + w, y + h)
            if rng.random() < 0.3:
                self.draw.ellipse((x, y, x + h, y + h), fill=fill, outline=self.ink())
            else:
                self.draw.rounded_rectangle(
                    shape,
                    rng.choice((0, 0, 4, 8)),
                    fill,
                    self.ink() if rng.random() < 0.5 else None,
                )
            if rng.random() < 0.6:
                font = ImageFont.load_default(min(h - 2, rng.choice((10, 12, 14))))
                self.draw.text((x + 5, y + 2), _words(rng, 2), font=font, fill=self.ink())

    def table(self) -> None:
        rng = self.rng
        line, column = rng.choice((16, 20, 26)), rng.choice((40, 64, 90))
        font = ImageFont.load_default(line - 7)
        grey = 90 if self.dark else 200
        for y in range(0, self.height, line):
            self.draw.line((0, y, self.width, y), fill=(grey, grey, grey))
            for x in range(0, self.width, column):
                text = f"{rng.uniform(0, 10 ** rng.randrange(1, 5)):.{rng.randrange(3)}f}"
                self.draw.text(
                    (x + 4, y + 2),
                    text,
                    font=font,
                    fill=self.ink() if rng.random() < 0.1 else (128,) * 3,
                )
        for x in range(0, self.width, column):
            self.draw.line((x, 0, x, self.height), fill=(grey, grey, grey))


def page(rng: random.Random, height: int, width: int, picture: np.ndarray | None = None) -> Planes8:
    """A page of `height` x `width` (even); `picture`, RGB, is set into some."""
    drawn = _Page(rng, height, width)
    if rng.random() < 0.2:
        drawn.table()
    else:
        columns = rng.choice((1, 1, 2, 3))
        for i in range(columns):
            left = i * width // columns + rng.randrange(4, 20)
            drawn.text(left, (i + 1) * width // columns - 6, rng.randrange(0, 40), height)
    drawn.boxes(rng.choice((0, 2, 4, 8, 14)))
    if picture is not None:
        image = Image.fromarray(picture)
        image.thumbnail(
            (rng.randrange(width // 5, width // 2), rng.randrange(height // 5, height // 2))
        )
        drawn.image.paste(image, (rng.randrange(0, width // 2), rng.randrange(0, height // 2)))
    return planes_of_rgb(np.asarray(drawn.image))
