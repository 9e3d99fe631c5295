"""Plots of the comparison page as inline SVG: lines and bands over time, intervals, one dot per market.

Every function gives a `<figure>` as text, "" when there is nothing to draw. Drawings are `WIDTH` units wide,
about as many as a telephone has pixels, so that their letters stay readable there; colours are the page's CSS
classes `s0`…`s7` (strokes) and `f0`…`f7` (fills), each look with a dash and a mark of its own, so that no
meaning hangs on the colour alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 10, 30
LOOKS = 8
POINTS = 240
"""Buckets a line is thinned to: more cannot be told apart in `WIDTH` units."""
ROW = 34
LARGEST = 1e15
FEW = 60
"""Dots in a row, up to which they are drawn large."""
LETTERS = 54
"""That fit into a row's heading."""

Value = float | None


@dataclass(frozen=True)
class Line:
    """One line of a chart; `values` may hold None or NaN, where it is broken."""

    name: str
    times: Sequence[float]
    values: Sequence[Value]
    look: int
    step: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Band:
    """What lies between two step lines, such as best bid and best ask."""

    name: str
    times: Sequence[float]
    low: Sequence[Value]
    high: Sequence[Value]


@dataclass(frozen=True)
class Dots:
    """Single events of a chart, such as fills; each has a text that shows when it is pointed at."""

    name: str
    times: Sequence[float]
    values: Sequence[Value]
    look: int
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Interval:
    """A row of `intervals`: an estimate, its bounds, and what stands beside it in words."""

    name: str
    value: Value
    low: Value
    high: Value
    look: int
    words: str = ""


def finite(value: object) -> float | None:
    """The number, or None for what is none: None, NaN, a text, or what no market comes to (beyond 1e15)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None


def breakable(name: str) -> str:
    """A name as HTML that may be broken into lines between its words and parameters."""
    return re.sub(r"([:,_])(?=[a-zA-Z])", r"\1<wbr>", escape(name, quote=False))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) within [low, high], about as many as asked."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, step: float) -> str:
    """A tick's label, with just the decimals that the distance between two needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 2
    text = f"{value:,.{min(decimals, 6)}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def thinned(times: Sequence[float], values: Sequence[Value]) -> list[tuple[float, Value]]:
    """At most four points of each of `POINTS` stretches of time: first, least, greatest and last."""
    points = [(float(t), finite(v)) for t, v in zip(times, values, strict=False) if finite(t) is not None]
    if len(points) <= 4 * POINTS:
        return points
    begin, width = points[0][0], (points[-1][0] - points[0][0]) / POINTS or 1.0
    buckets: dict[int, list[int]] = {}
    for at, (time, _) in enumerate(points):
        buckets.setdefault(int((time - begin) / width), []).append(at)
    kept: set[int] = set()
    for places in buckets.values():
        known = [at for at in places if points[at][1] is not None] or places
        kept |= {places[0], places[-1]}
        kept |= {min(known, key=lambda at: points[at][1] or 0), max(known, key=lambda at: points[at][1] or 0)}
    return [points[at] for at in sorted(kept)]


@dataclass(frozen=True)
class _Scale:
    """Where a value lies in a drawing."""

    left: float
    right: float
    low: float
    high: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.left + (self.right - self.left) * share


def _range(values: Sequence[float], *, zero: bool) -> tuple[float, float]:
    """From least to greatest with a little air; with `zero` it is among them."""
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    air = (high - low) * 0.05
    return low - air, high + air


def _path(points: Sequence[tuple[float, Value]], x: _Scale, y: _Scale, *, step: bool) -> str:
    made: list[str] = []
    pen_down = False
    last_y = ""
    for time, value in points:
        if value is None:
            if pen_down and step:
                made.append(f"H{x(time):.1f}")
            pen_down = False
            continue
        at_x, at_y = f"{x(time):.1f}", f"{y(value):.1f}"
        if not pen_down:
            made.append(f"M{at_x},{at_y}")
        elif not step:
            made.append(f"L{at_x},{at_y}")
        elif at_y != last_y:
            made.append(f"H{at_x}V{at_y}")
        elif time == points[-1][0]:
            made.append(f"H{at_x}")
        pen_down, last_y = True, at_y
    return "".join(made)


def _area(band: Band, x: _Scale, y: _Scale) -> str:
    """The band as one path of boxes; moments that differ in nothing share one."""
    low, high = dict(thinned(band.times, band.low)), dict(thinned(band.times, band.high))
    made = []
    begin: tuple[float, Value, Value] | None = None
    for time in sorted(low.keys() & high.keys()):
        bottom, top = low[time], high[time]
        if begin is not None and begin[1:] == (bottom, top):
            continue
        if begin is not None:
            made.append(_box(begin, time, x, y))
        begin = (time, bottom, top)
    if begin is not None:
        made.append(_box(begin, max(low), x, y))
    return "".join(made)


def _box(begin: tuple[float, Value, Value], until: float, x: _Scale, y: _Scale) -> str:
    time, bottom, top = begin
    if bottom is None or top is None or until <= time:
        return ""
    return f"M{x(time):.1f},{y(bottom):.1f}V{y(top):.1f}H{x(until):.1f}V{y(bottom):.1f}Z"


def mark(look: int, x: float, y: float, *, size: float = 3.2, title: str = "") -> str:
    """The sign of a look: circle, square, triangle, rhomb, or a hollow one; `size` is half its width."""
    r, wide = f"{size:g}", f"{2 * size:g}"
    side = f"{1.76 * size:.3g}"
    shapes = (
        f"m-{r},0a{r},{r} 0 1,0 {wide},0a{r},{r} 0 1,0 -{wide},0z",
        f"m-{0.88 * size:.3g},-{0.88 * size:.3g}h{side}v{side}h-{side}z",
        f"m0,-{1.2 * size:.3g}l{1.12 * size:.3g},{wide}h-{2.24 * size:.3g}z",
        f"m0,-{1.25 * size:.3g}"
        + "".join(f"l{a}{r},{b}{r}" for a, b in (("", ""), ("-", ""), ("-", "-")))
        + "z",
    )
    hollow = " hollow" if look % LOOKS >= len(shapes) else ""
    said = f"<title>{escape(title)}</title>" if title else ""
    shape = shapes[look % len(shapes)]
    look %= LOOKS
    return f"<path class='mark s{look} f{look}{hollow}' d='M{x:.1f},{y:.1f}{shape}'>{said}</path>"


def key(entries: Sequence[tuple[str, int, str]]) -> str:
    """The legend below a plot; entries are (name, look, one of "line", "marked", "mark", "band")."""
    made = []
    for name, look, kind in entries:
        drawn = "<rect class='band' x='2' y='2' width='24' height='8'/>" if kind == "band" else ""
        if kind in ("line", "marked"):
            drawn += f"<path class='line s{look % LOOKS}' d='M1,6H27'/>"
        if kind in ("mark", "marked"):
            drawn += mark(look, 14, 6)
        made.append(f"<span><svg viewBox='0 0 28 12' aria-hidden='true'>{drawn}</svg>{escape(name)}</span>")
    return f"<div class='key'>{''.join(made)}</div>"


def _heading(name: str, words: str, top: float) -> str:
    """A row's name and what stands at its right end; a name too long for both is cut, a pointer shows it."""
    room = LETTERS - len(words) - 2
    short = name if len(name) <= room else name[: max(1, room - 1)] + "…"
    return (
        f"<text class='name' x='4' y='{top + 11:g}'>{escape(short)}<title>{escape(name)}</title></text>"
        f"<text class='name' x='{WIDTH - 4}' y='{top + 11:g}' text-anchor='end'>{escape(words)}</text>"
    )


def figure(title: str, drawn: str, *, height: float, under: str = "", note: str = "") -> str:
    """A drawing with its title above, its legend and a remark below."""
    told = f"<p class='note'>{escape(note)}</p>" if note else ""
    return (
        f"<figure><figcaption>{breakable(title)}</figcaption>"
        f"<svg class='plot' viewBox='0 0 {WIDTH} {height:g}' role='img' aria-label='{escape(title)}'>"
        f"{drawn}</svg>{under}{told}</figure>"
    )


def _across(x: _Scale, top: float, bottom: float, unit: str) -> str:
    """Vertical grid lines with their labels, the unit below them."""
    at = ticks(x.low, x.high, 6)
    step = at[1] - at[0] if len(at) > 1 else 1.0
    made = [
        f"<path class='{'zero' if abs(t) < step / 1e6 else 'grid'}' d='M{x(t):.1f},{top:g}V{bottom:g}'/>"
        f"<text x='{x(t):.1f}' y='{bottom + 11:g}' text-anchor='middle'>{tick_text(t, step)}</text>"
        for t in at
    ]
    middle = (x.left + x.right) / 2
    made.append(f"<text x='{middle:g}' y='{bottom + 24:g}' text-anchor='middle'>{escape(unit)}</text>")
    return "".join(made)


def chart(
    title: str,
    parts: Sequence[Line | Band | Dots],
    *,
    x_unit: str,
    y_unit: str,
    zero: bool = False,
    note: str = "",
    height: float = HEIGHT,
    span: tuple[float, float] | None = None,
) -> str:
    """Lines, bands and dots over one horizontal axis.

    Parameters
    ----------
    title : str
        Stands above, and is what a screen reader says.
    parts : sequence of Line, Band or Dots
        Drawn in this order, bands below the rest.
    x_unit, y_unit : str
        What the axes show.
    zero : bool
        Whether the vertical axis must show zero.
    note : str
        A remark below the legend.
    height : float
        Of the drawing.
    span : (float, float), optional
        What the horizontal axis must show, so that plots below one another have the same.
    """
    xs: list[float] = []
    ys: list[float] = []
    for part in parts:
        tops = [part.low, part.high] if isinstance(part, Band) else [part.values]
        for values in tops:
            known = [(t, v) for t, v in thinned(part.times, values) if v is not None]
            xs += [t for t, _ in known]
            ys += [v for _, v in known]
    if not xs:
        return ""
    xs += span or ()
    low_x, high_x = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    bottom = height - BOTTOM
    x = _Scale(LEFT, WIDTH - RIGHT, low_x, high_x)
    y = _Scale(bottom, TOP + 8, *_range(ys, zero=zero))
    at = ticks(y.low, y.high, 6)
    step = at[1] - at[0] if len(at) > 1 else 1.0
    drawn = [_across(x, TOP + 8, bottom, x_unit)]
    drawn += [
        f"<path class='{'zero' if abs(t) < step / 1e6 else 'grid'}' d='M{LEFT},{y(t):.1f}H{WIDTH - RIGHT}'/>"
        f"<text x='{LEFT - 4}' y='{y(t) + 3.5:.1f}' text-anchor='end'>{tick_text(t, step)}</text>"
        for t in at
    ]
    drawn.append(f"<text x='2' y='9'>{escape(y_unit)}</text>")
    entries: list[tuple[str, int, str]] = []
    for part in sorted(parts, key=lambda part: not isinstance(part, Band)):
        if isinstance(part, Band):
            drawn.append(f"<path class='band' d='{_area(part, x, y)}'/>")
            entries.append((part.name, 0, "band"))
            continue
        points = thinned(part.times, part.values)
        if all(value is None for _, value in points):
            continue
        if isinstance(part, Dots):
            texts = [*part.texts, *[""] * len(part.times)]
            for at_time, value, said in zip(part.times, map(finite, part.values), texts, strict=False):
                drawn += (
                    [mark(part.look, x(at_time), y(value), size=2, title=said)] if value is not None else []
                )
            entries.append((part.name, part.look, "mark"))
            continue
        drawn.append(f"<path class='line s{part.look % LOOKS}' d='{_path(points, x, y, step=part.step)}'/>")
        if part.marked:
            drawn += [mark(part.look, x(t), y(v)) for t, v in points if v is not None]
        entries.append((part.name, part.look, "marked" if part.marked else "line"))
    return figure(title, "".join(drawn), height=height, under=key(entries), note=note)


def intervals(title: str, rows: Sequence[Interval], *, unit: str, note: str = "") -> str:
    """One estimate with its interval per row over an axis that shows zero; a row without one stays empty."""
    if all(finite(row.value) is None for row in rows):
        return ""
    known = [finite(v) for row in rows for v in (row.value, row.low, row.high)]
    bottom = TOP + ROW * len(rows)
    x = _Scale(12, WIDTH - 12, *_range([v for v in known if v is not None], zero=True))
    drawn = [_across(x, TOP, bottom, unit)]
    for number, row in enumerate(rows):
        top = TOP + ROW * number
        drawn.append(_heading(row.name, row.words, top))
        value, low, high = finite(row.value), finite(row.low), finite(row.high)
        if low is not None and high is not None:
            drawn.append(
                f"<path class='whisker s{row.look % LOOKS}' d='M{x(low):.1f},{top + 22}H{x(high):.1f}"
                f"M{x(low):.1f},{top + 18}v8M{x(high):.1f},{top + 18}v8'/>"
            )
        if value is not None:
            drawn.append(mark(row.look, x(value), top + 22))
    return figure(title, "".join(drawn), height=bottom + BOTTOM, note=note)


def strips(
    title: str,
    rows: Sequence[tuple[str, Sequence[Value], int]],
    *,
    unit: str,
    note: str = "",
    line: float | None = None,
) -> str:
    """One dot per market and row (name, values, look), and a bar at each row's mean.

    The axis spans all but the outermost hundredth of the dots at either side; those stand at its edge, and
    the text at the row's end says how many they are. A vertical line stands at `line`.
    """
    kept = [(name, [v for v in map(finite, values) if v is not None], look) for name, values, look in rows]
    pooled = sorted(v for _, values, _ in kept for v in values)
    if not pooled:
        return ""
    cut = len(pooled) // 100
    few = " few" if len(pooled) <= FEW * len(kept) else ""
    means = [sum(values) / len(values) for _, values, _ in kept if values]
    x = _Scale(14, WIDTH - 14, *_range([pooled[cut], pooled[-1 - cut], *means, line or 0.0], zero=True))
    bottom = TOP + ROW * len(kept)
    drawn = [_across(x, TOP, bottom, unit)]
    if line is not None:
        drawn.append(f"<path class='limit' d='M{x(line):.1f},{TOP:g}V{bottom:g}'/>")
    for number, (name, values, look) in enumerate(kept):
        top = TOP + ROW * number
        beyond = sum(not x.low <= v <= x.high for v in values)
        words = f"n {len(values):,}" + (f", {beyond:,} beyond" if beyond else "")
        dots = "".join(
            f"M{x(min(max(v, x.low), x.high)):.1f},{top + 18 + (k * 0.618034 % 1) * 11:.1f}h0"
            for k, v in enumerate(values)
        )
        drawn.append(f"{_heading(name, words, top)}<path class='dots{few} s{look % LOOKS}' d='{dots}'/>")
        if values:
            drawn.append(f"<path class='mean' d='M{x(sum(values) / len(values)):.1f},{top + 15}v17'/>")
    return figure(title, "".join(drawn), height=bottom + BOTTOM, note=note)
