"""A font for a test: a triangle for each letter of a script that no shipped font has."""

from pathlib import Path

from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]


def write_font(path: Path, letters: str) -> Path:
    names = {ord(letter): f"u{ord(letter):04X}" for letter in sorted(set(letters) - {" "})}
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((0, 700))
    pen.lineTo((700, 700))
    pen.closePath()
    glyph = pen.glyph()
    font.setupGlyf(dict.fromkeys([".notdef", *names.values()], glyph))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path
