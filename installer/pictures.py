"""Draw the pictures in agent/assets from vector shapes: `python -m installer.pictures`.

Each picture is drawn for each size separately, on a grid of 16 units, to put edges on whole
pixels where possible. Colours keep a contrast of 3:1 on light and on dark task bars.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

ASSETS = Path(__file__).parents[1] / "agent" / "assets"
ICO_SIZES = (16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64)
"""The sizes in pixels that Windows uses at 100 to 400 % scale."""
APP_SIZES = (*ICO_SIZES, 128, 256)
PNG_SIZES = (32, 40, 48, 56, 64, 96)
"""The sizes in pixels for dialogs at 100 to 300 % scale."""
OVERSAMPLING = 16
GRID = 16

GREEN = "#1c8a3c"
AMBER = "#c27400"
BLUE = "#1f74d6"
GREY = "#757980"
RED = "#d13025"
WHITE = "#ffffff"

Point = tuple[float, float]


class Pen:
    """A canvas `OVERSAMPLING` times too large, on which shapes are drawn in units of the grid."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._unit = size * OVERSAMPLING / GRID
        self._canvas = Image.new("RGBA", (size * OVERSAMPLING,) * 2)
        self._draw = ImageDraw.Draw(self._canvas)

    def fit(self, value: float) -> float:
        """Return the grid coordinate nearest to `value` that is a whole pixel at this size."""
        return round(value * self.size / GRID) * GRID / self.size

    def width(self, value: float) -> float:
        """Return `value` rounded to whole pixels, at least one, in units of the grid."""
        return max(1, round(value * self.size / GRID)) * GRID / self.size

    def _scale(self, points: list[Point]) -> list[Point]:
        return [(x * self._unit, y * self._unit) for x, y in points]

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        box = self._scale([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse(box, fill=colour)

    def arc(
        self, centre: Point, radius: float, span: tuple[float, float], width: float, colour: str
    ) -> None:
        """Draw an arc: `span` in degrees clockwise from 3 o'clock, `radius` to its middle."""
        (x, y), half = centre, width / 2
        top_left = (x - radius - half, y - radius - half)
        box = self._scale([top_left, (x + radius + half, y + radius + half)])
        self._draw.arc(box, *span, fill=colour, width=round(width * self._unit))

    def box(self, top_left: Point, bottom_right: Point, radius: float, colour: str) -> None:
        fitted = [(self.fit(x), self.fit(y)) for x, y in (top_left, bottom_right)]
        (x0, y0), (x1, y1) = self._scale(fitted)
        self._draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius * self._unit, fill=colour)

    def shape(self, points: list[Point], colour: str) -> None:
        self._draw.polygon(self._scale(points), fill=colour)

    def bar(self, left: float, right: float, top: float, bottom: float, colour: str) -> None:
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def line(self, points: list[Point], width: float, colour: str) -> None:
        """Draw a line with round ends and corners."""
        scaled = self._scale(points)
        thick = round(width * self._unit)
        self._draw.line(scaled, fill=colour, width=thick)
        half = thick / 2
        for x, y in scaled:
            self._draw.ellipse((x - half, y - half, x + half, y + half), fill=colour)

    def picture(self) -> Image.Image:
        return self._canvas.resize((self.size, self.size), Image.Resampling.BOX)


def standby(pen: Pen) -> None:
    """Draw a disc with a tick."""
    pen.disc(8, 8, 8, GREEN)
    pen.line([(4.3, 8.4), (7, 11), (11.7, 5.4)], pen.width(2), WHITE)


def old_password(pen: Pen) -> None:
    """Draw a warning triangle: the old password works, but not for ever."""
    inset = 1.1
    corners = [(8.0, inset + 0.4), (16 - inset, 15.0 - inset + 0.6), (inset, 15.0 - inset + 0.6)]
    pen.shape(corners, AMBER)
    pen.line([*corners, corners[0]], 2 * inset, AMBER)
    width = pen.width(2)
    left = pen.fit(8 - width / 2)
    pen.box((left, 5), (left + width, 10), 0.4, WHITE)
    pen.box((left, 11.1), (left + width, 11.1 + width), 0.4, WHITE)


SEGMENTS: dict[str, tuple[Point, Point]] = {
    "a": ((4, 2), (12, 4)),
    "b": ((10, 2), (12, 9)),
    "c": ((10, 7), (12, 14)),
    "d": ((4, 12), (12, 14)),
    "e": ((4, 7), (6, 14)),
    "f": ((4, 2), (6, 9)),
    "g": ((4, 7), (12, 9)),
    "i": ((7, 2), (9, 14)),
}
"""The strokes of a digit by their top left and bottom right corners; "i" is in the middle."""
DIGITS = ("abcdef", "i", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")


def days(number: int, pen: Pen) -> None:
    """Draw the days that an old password has left, on a square like the leaf of a calendar."""
    pen.box((0, 0), (16, 16), 2, AMBER)
    for segment in DIGITS[number]:
        pen.box(*SEGMENTS[segment], 0, WHITE)


def busy(pen: Pen) -> None:
    """Draw two arrows in a circle."""
    radius, width = 6.1, pen.width(2.6)
    for turn in (0, 180):
        pen.arc((8, 8), radius, (turn + 20, turn + 128), width, BLUE)
        head = [(radius - 3.4, 128), (radius + 3.2, 128), (radius, 128 + 46)]
        corners = [(far, math.radians(turn + angle)) for far, angle in head]
        pen.shape([(8 + far * math.cos(a), 8 + far * math.sin(a)) for far, a in corners], BLUE)


def _monitor(pen: Pen, colour: str) -> None:
    pen.box((0, 1), (16, 12), 1.5, colour)
    pen.box((6, 11), (10, 14), 0, colour)
    pen.box((4, 13), (12, 15), 0.7, colour)


def offline(pen: Pen) -> None:
    """Draw a screen that is crossed out."""
    _monitor(pen, GREY)
    width = pen.width(1.8)
    pen.line([(5.4, 3.9), (10.6, 9.1)], width, WHITE)
    pen.line([(10.6, 3.9), (5.4, 9.1)], width, WHITE)


def attention(pen: Pen) -> None:
    """Draw a padlock: the user has to do something."""
    width = pen.width(2.2)
    pen.arc((8, 5.2), 3.9, (180, 360), width, RED)
    for middle in (8 - 3.9, 8 + 3.9):
        pen.bar(middle - width / 2, middle + width / 2, 5.1, 8.5, RED)
    pen.box((1.5, 7), (14.5, 16), 1.4, RED)
    pen.disc(8, 10.5, 1.7, WHITE)
    stem = pen.width(1.5)
    left = 8 - stem / 2
    pen.bar(left, left + stem, 10.5, 14, WHITE)


def app(pen: Pen) -> None:
    """Draw the program's own icon: a screen with the sign of a power switch."""
    _monitor(pen, BLUE)
    pen.arc((8, 6.7), 2.8, (-55, 235), 1.6, WHITE)
    pen.line([(8, 3.0), (8, 6.2)], 1.6, WHITE)


PICTURES: dict[str, Callable[[Pen], None]] = {
    "standby": standby,
    "old_password": old_password,
    "busy": busy,
    "offline": offline,
    "attention": attention,
    "app": app,
    **{f"days-{number}": partial(days, number) for number in range(len(DIGITS))},
}


def render(name: str, size: int) -> Image.Image:
    """Return the picture called `name`, `size` pixels square."""
    pen = Pen(size)
    PICTURES[name](pen)
    return pen.picture()


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _bitmap(image: Image.Image) -> bytes:
    """Return a 32-bit DIB with its mask, the form that every Windows program reads."""
    size = image.width
    header = struct.pack("<IiiHHIIiiII", 40, size, size * 2, 1, 32, 0, 0, 0, 0, 0, 0)
    pixels = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    row = (size + 31) // 32 * 4
    alpha = image.getchannel("A").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mask = bytearray(row * size)
    for position, value in enumerate(alpha.tobytes()):
        if value < 128:
            y, x = divmod(position, size)
            mask[y * row + x // 8] |= 0x80 >> x % 8
    return header + pixels + bytes(mask)


def ico(images: list[Image.Image]) -> bytes:
    """Return an icon file. Pictures up to 24 pixels are bitmaps, larger ones PNG."""
    blobs = [_png(image) if image.width > 24 else _bitmap(image) for image in images]
    offset = 6 + 16 * len(images)
    head = struct.pack("<HHH", 0, 1, len(images))
    for image, blob in zip(images, blobs, strict=True):
        side = image.width % 256
        head += struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(blob), offset)
        offset += len(blob)
    return head + b"".join(blobs)


def main() -> None:
    """Write every picture to `agent/assets`."""
    for name in PICTURES:
        sizes = APP_SIZES if name == "app" else ICO_SIZES
        (ASSETS / f"{name}.ico").write_bytes(ico([render(name, size) for size in sizes]))
        for size in PNG_SIZES:
            (ASSETS / f"{name}-{size}.png").write_bytes(_png(render(name, size)))


if __name__ == "__main__":
    main()
