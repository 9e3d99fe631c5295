"""How the comparison page looks, and the few pieces of HTML that its sections are made of.

Colours are told apart by people who see few of them (after Okabe and Ito), darker on light ground and lighter
on dark. They mean: blue better, Up or earned; vermilion worse, Down or lost; grey neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from invmm.replay.compare_plots import breakable, finite

STYLE = """
:root{color-scheme:light dark;--ground:#fbfcfd;--card:#fff;--ink:#1d2530;--soft:#5b6673;--rule:#dfe5ec;
--warn:#fff4d6;--warnrule:#d9b64a;--band:#6b748055;
--s0:#0072b2;--s1:#c24e00;--s2:#007a5e;--s3:#a8447f;--s4:#806500;--s5:#2f7fae;--s6:#6b7480;--s7:#1d2530}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--card:#171c23;--ink:#dde4ec;--soft:#9aa6b4;
--rule:#2c3540;--warn:#3a3115;--warnrule:#7d6a2b;--band:#98a2ae60;
--s0:#56b4e9;--s1:#ff9447;--s2:#2ccba0;--s3:#e79ac8;--s4:#e3c64e;--s5:#9fd0f5;--s6:#98a2ae;--s7:#f0f3f7}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1240px;padding:1rem;color:var(--ink);
background:var(--ground);overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.25;margin:.4rem 0}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}p,ul,dl{max-width:75ch}p{margin:.4rem 0}
ul{padding-left:1.2rem;margin:.4rem 0}li{margin:.25rem 0}
.soft,.note,.caption,figcaption small{color:var(--soft)}.note{font-size:.85rem}
.warn{background:var(--warn);border:1px solid var(--warnrule);border-radius:6px;padding:.6rem .9rem;
max-width:none}
.warn ul{max-width:none;columns:2 32rem;column-gap:2rem}.warn li{break-inside:avoid;margin:0 0 .4rem}
.warn h2{margin:.2rem 0 .4rem;font-size:1.05rem}
.verdicts{list-style:none;padding:0;max-width:none}
.verdicts li{border-left:4px solid var(--s6);padding:.15rem .7rem;margin:.4rem 0}
.verdicts li.better{border-color:var(--s0)}.verdicts li.worse{border-color:var(--s1)}
.two>figure{margin-top:.6rem}
@media(min-width:1100px){.two{display:grid;grid-template-columns:minmax(0,1fr) 390px;gap:1rem;
align-items:start}}
.two>div{min-width:0}.two td,.two th{padding:.28rem .5rem}.two th.t:first-child{min-width:min(38vw,9rem)}
.caption{margin:.8rem 0 .2rem}
.wide{overflow-x:auto;max-width:100%;margin:0 0 .6rem}
table{border-collapse:separate;border-spacing:0;font-size:.92rem}caption{text-align:left;
color:var(--soft);padding:.2rem 0}
td,th{padding:.28rem .65rem;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;
white-space:nowrap;font-variant-numeric:tabular-nums;font-weight:400}
thead th{vertical-align:bottom;max-width:8rem;font-weight:600;white-space:normal;min-width:4.6rem}
td.t,th.t{text-align:left}td small,th small{display:block;color:var(--soft)}
th.t:first-child{position:sticky;left:0;background:var(--ground);font-weight:600;padding-left:0;
min-width:min(38vw,11rem);
max-width:15rem;white-space:normal;overflow-wrap:break-word}
td.l{text-align:left;white-space:normal;min-width:9rem}
.better{color:var(--s0)}.worse{color:var(--s1)}.flag,.above small{color:var(--s1)}
li.better,li.worse{color:inherit}
dl.facts{display:grid;grid-template-columns:fit-content(15rem) minmax(0,1fr);gap:.2rem 1rem;
margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0}code{font-size:.86em;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:.9rem;
align-items:start}
.plots.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
.plots.pairs figure{max-width:620px}
figure{margin:0;min-width:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;
padding:.6rem .6rem .4rem;max-width:520px}
figcaption{font-weight:600;font-size:.92rem;padding:0 .2rem .3rem}
svg.plot{display:block;width:100%;height:auto}svg text{font:9.5px system-ui,sans-serif;fill:var(--soft)}
svg text.name{font-size:10.5px;fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:3px}
.limit{stroke:var(--s1);stroke-width:1;stroke-dasharray:4 2;fill:none}
.grid{stroke:var(--rule);stroke-width:.7;fill:none}.zero{stroke:var(--soft);stroke-width:1;fill:none}
.line{fill:none;vector-effect:non-scaling-stroke;stroke-width:1.5;stroke-linejoin:round}.whisker{fill:none;stroke-width:1.6}
.dots.few{stroke-width:5;stroke-opacity:.75}
.dots{fill:none;stroke-width:2.4;stroke-linecap:round;stroke-opacity:.5}.mean{stroke:var(--ink);
stroke-width:2}
.mark{stroke-width:.8;stroke:var(--card)}.band{fill:var(--band);stroke:var(--s6);stroke-width:.5;stroke-opacity:.6}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}
.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}
.f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}
.f4{fill:var(--s4)}.f5{fill:var(--s5)}.f6{fill:var(--s6)}.f7{fill:var(--s7)}
.mark.hollow{fill:var(--card);stroke-width:1.4}
.line.s1{stroke-dasharray:7 2}.line.s2{stroke-dasharray:2 2}.line.s3{stroke-dasharray:8 2 2 2}
.line.s5{stroke-dasharray:4 3}.line.s6{stroke-dasharray:1 2}
.key{display:flex;flex-wrap:wrap;gap:.1rem .9rem;font-size:.82rem;padding:.2rem}
.key svg{width:28px;height:12px;margin-right:.3rem;vertical-align:-1px}
.plots+details{margin-top:.9rem}
details{border-top:1px solid var(--rule);padding:.5rem 0}summary{cursor:pointer;font-weight:600;
padding:.2rem 0}
@media(min-width:960px){.plots.pairs svg text{font-size:7.5px}}
@media(max-width:560px){dl.facts{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:.4rem}
.cards{width:100%}.cards thead{display:none}
.cards tr,.cards td,.cards th.t:first-child{display:block}
.cards tr{border-bottom:1px solid var(--rule);padding:.4rem 0}.cards td,.cards th{border:0;
padding:.1rem 0;white-space:normal}
.cards th.t:first-child{max-width:none}.cards td{display:flex;justify-content:space-between;
gap:1rem;text-align:right}
.cards td::before{content:attr(data-name);color:var(--soft)}.cards td:empty{display:none}}
@media print{details>*{display:block}figure{break-inside:avoid}}
"""
NONE = "–"


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def number(value: object, places: int = 2, *, sign: bool = False) -> str:
    """A figure with thousands parted and a true minus; a dash for what is none."""
    known = finite(value)
    if known is None:
        return NONE
    text = f"{known:{'+' if sign else ''},.{places}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def said(value: object, without: str = NONE) -> str:
    """A value as text; `without` for what is none, or has parts."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    known = finite(value)
    return value if isinstance(value, str) else without if known is None else f"{known:.12g}"


def percent(value: object, places: int = 1) -> str:
    """A share as per cent."""
    known = finite(value)
    return NONE if known is None else f"{number(100 * known, places)} %"


def bounds(low: object, high: object, places: int = 2) -> str:
    """An interval in words, "" if one end of it is none."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"{number(low, places, sign=True)} to {number(high, places, sign=True)}"


def cell(text: str, *, under: str | Sequence[str] = (), kind: str = "", name: str = "") -> str:
    """A table's cell.

    Parameters
    ----------
    text : str
        What it says.
    under : str or sequence of str
        Lines below it, in small.
    kind : str
        "" for a figure, "t" for a name, "l" for words, and a verdict's class.
    name : str
        Its column, said before it where the table is shown as cards.
    """
    lines = [under] if isinstance(under, str) else under
    small = "".join(f"<small>{escape(line)}</small>" for line in lines if line)
    named = f" data-name='{escape(name)}'" if name else ""
    kind = f" class='{kind}'" if kind else ""
    return f"<td{kind}{named}>{f'<span>{escape(text)}{small}</span>' if text or small else ''}</td>"


def table(
    caption: str,
    head: Sequence[tuple[str, str]],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    cards: bool = False,
    words: Sequence[int] = (),
) -> str:
    """A table that scrolls sideways where it is too wide, its first column staying.

    Parameters
    ----------
    caption : str
        Stands above the table, where it does not scroll with it.
    head : sequence of (str, str)
        Name and unit of each column, the first one's included.
    rows : sequence of (str, sequence of str)
        The row's name and its cells, each made by `cell`.
    cards : bool
        Whether a narrow screen shows each row as a card of its own, instead of a table to be scrolled.
    words : sequence of int
        Numbers of the columns that hold words: their heads stand at the left.
    """
    names = "".join(
        f"<th scope='col' class='{'t' if k in (0, *words) else 'f'}'>{breakable(name)}"
        f"<small>{escape(unit)}</small></th>"
        for k, (name, unit) in enumerate(head)
    )
    kind = " class='cards'" if cards else ""
    lines = "".join(
        f"<tr><th scope='row' class='t'>{breakable(name)}</th>{''.join(cells)}</tr>" for name, cells in rows
    )
    return (
        f"<div><p class='caption'>{escape(caption)}</p>"
        f"<div class='wide' tabindex='0' role='region' aria-label='{escape(caption)}'><table{kind}>"
        f"<thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div></div>"
    )


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Names and what they are; entries without a text are left out."""
    made = "".join(f"<dt>{breakable(name)}</dt><dd>{breakable(text)}</dd>" for name, text in entries if text)
    return f"<dl class='facts'>{made}</dl>" if made else ""
