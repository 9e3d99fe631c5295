"""The report as one self-contained page: figures, and per market the Up mid with our fills (inline SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from invmm.ops.settled import told_cash, told_merges
from invmm.replay.report import WARNING, model_words
from invmm.replay.result import MarketResult
from invmm.types import Outcome

WIDTH, HEIGHT, MARGIN = 760, 220, 36
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem}
body{color:#1d2530;background:#fbfcfd}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .6rem;border-bottom:1px solid #e3e8ee;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.warn,.bad{padding:.6rem .9rem;border-radius:6px}
.warn{background:#fff4d6;border:1px solid #e2c25c}.bad{background:#fde4e1;border:1px solid #d66}
svg{width:100%;height:auto;background:#fff;border:1px solid #e3e8ee;border-radius:6px}
.key span{margin-right:1.2rem}code{font-size:.85em;word-break:break-all}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dde4ec}td,th,svg{border-color:#2a323d}
svg{background:#161b22}.warn{background:#3a3115}.bad{background:#431d1a}}
"""
UP_COLOUR, DOWN_COLOUR, MID_COLOUR = "#1a8f5a", "#c2453d", "#5577aa"


def page(summary: dict[str, Any], results: Sequence[MarketResult]) -> str:
    """HTML text of the report."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>invmm report</title><style>{STYLE}</style></head><body><h1>invmm report</h1>",
    ]
    if summary["origin"] == "GENERATED":
        parts.append(f"<p class='warn'>{escape(WARNING)}</p>")
    if summary.get("failed_checks"):
        parts.append(
            "<p class='bad'>Failed checks: " + "; ".join(map(escape, summary["failed_checks"])) + "</p>"
        )
    parts.append(_figures(summary))
    parts.append(_latencies(summary["latency_ns"]))
    parts.append(_transactions(summary.get("settlement", {}).get("transactions", [])))
    for result in results:
        parts.append(_market(result))
    parts.append("</body></html>")
    return "\n".join(parts)


def _row(name: str, value: str) -> str:
    return f"<tr><td>{escape(name)}</td><td class='n'>{escape(value)}</td></tr>"


def _figures(s: dict[str, Any]) -> str:
    profit = s["profit"]
    cost = s["pair_cost"]
    rows = [
        _row("markets, frames", f"{s['markets']}, {s['frames']:,}"),
        _row("orders, fills", f"{s['orders']:,}, {s['fills']:,}"),
        _row("shares bought", f"{s['bought_shares']:,.2f}"),
        _row("matched pairs, pair cost", f"{s['pairs']:,.2f}" + (f", {cost:.4f} $" if cost else "")),
        _row("merges", told_merges(s)),
        *([_row("cash on the chain", told_cash(s["settlement"]))] if "settlement" in s else []),
        _row("profit", f"{profit['total']:+,.2f} $"),
        _row("· pair edge", f"{profit['pair_edge']:+,.2f} $"),
        _row("· unmatched inventory at resolution", f"{profit['orphans']:+,.2f} $"),
        _row("· taker fees", f"{profit['fees']:+,.2f} $"),
        _row("maker rebates expected (not in profit)", f"{profit['rebates']:+,.2f} $"),
        _row("ledger equals venue", "yes" if s["reconciled"] else "NO"),
        _row("checkpoints (unequal)", f"{s['checkpoints']:,} ({s['checkpoint_mismatches']})"),
        _row("best checks (unequal)", f"{s['best_checks']:,} ({s['best_mismatches']})"),
        _row("mirror checks (unequal)", f"{s['mirror_checks']:,} ({s['mirror_mismatches']})"),
        _row("decode failures", str(s["decode_failures"] or "none")),
        _row("solves, suppressed", f"{s['solves']:,}, {s['suppressed']:,}"),
    ]
    reasons = ", ".join(
        f"{name} {count:,}" for name, count in sorted(s["reasons"].items(), key=lambda item: -item[1])
    )
    rows.append(_row("no quote because", reasons or "–"))
    if s["model"]:
        rows.append(_row("inventory model", model_words(s["model"])))
    rows.append(f"<tr><td>digest of all commands</td><td><code>{escape(s['digest'])}</code></td></tr>")
    return "<table>" + "".join(rows) + "</table>"


def _latencies(stages: dict[str, dict[str, float]]) -> str:
    rows = [
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td class='n'>{f[q] / 1e3:,.1f}</td>" for q in ("p50", "p99", "p999"))
        + f"<td class='n'>{int(f['count']):,}</td></tr>"
        for name, f in stages.items()
        if f.get("count")
    ]
    if not rows:
        return ""
    head = "".join(f"<th class='n'>{name}</th>" for name in ("p50", "p99", "p99.9", "samples"))
    head = f"<tr><th>latency, µs of real time</th>{head}</tr>"
    return f"<h2>Latency</h2><table>{head}{''.join(rows)}</table>"


def _transactions(made: list[dict[str, Any]]) -> str:
    """Transactions on the chain, one line each."""
    rows = [
        f"<tr><td>{escape(one['market'])}</td><td>{escape(one['action'])}</td>"
        + "".join(
            f"<td class='n'>{value:,.6f}</td>"
            for value in (one["up_micro"] / 1e6, one["down_micro"] / 1e6, one["paid_micro"] / 1e6)
        )
        + f"<td class='n'>{one['gas_used']:,}</td><td><code>{escape(one['transaction'])}</code></td></tr>"
        for one in made
    ]
    if not rows:
        return ""
    names = ("Up", "Down", "dollars", "gas", "transaction")
    head = "<tr><th>market</th><th></th>" + "".join(f"<th class='n'>{name}</th>" for name in names) + "</tr>"
    return f"<h2>Transactions</h2><table>{head}{''.join(rows)}</table>"


def _market(result: MarketResult) -> str:
    info = result.tape.market
    ledger, parts = result.ledger, result.ledger.settle(result.winner)
    winner = "not resolved" if result.winner is None else f"resolved {result.winner.name.title()}"
    head = (
        f"<h2>{escape(info.slug)} <small>({escape(info.origin)}, {winner})</small></h2>"
        f"<p>{len(ledger.standing)} fills, "
        f"{ledger.matched_micro / 1e6:,.2f} pairs at {ledger.pair_cost:.4f} $, "
        f"profit {parts.total:+,.2f} $ (pair edge {parts.pair_edge:+,.2f}, "
        f"unmatched {parts.orphans:+,.2f}, fees {parts.fees:+,.2f})</p>"
    )
    return head + _plot(result)


def _plot(result: MarketResult) -> str:
    if result.mids is None or len(result.mids) < 2:
        return ""
    times, mids = result.mids["time_ns"], result.mids["up_mid"]
    first, last = int(times[0]), int(times[-1])

    def x(time_ns: int) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (time_ns - first) / max(1, last - first)

    def y(price: float) -> float:
        return HEIGHT - 24 - (HEIGHT - 44) * price

    line = " ".join(f"{x(int(t)):.1f},{y(float(m)):.1f}" for t, m in zip(times, mids, strict=True))
    marks = []
    for leg in result.ledger.standing:
        if not first <= leg.time_ns <= last:
            continue
        price = leg.price_e4 / 1e4 if leg.outcome == Outcome.UP else 1 - leg.price_e4 / 1e4
        colour = UP_COLOUR if leg.outcome == Outcome.UP else DOWN_COLOUR
        title = f"{leg.size_micro / 1e6:g} {leg.outcome.name.title()} at {leg.price_e4 / 1e4:g}"
        marks.append(
            f"<circle cx='{x(leg.time_ns):.1f}' cy='{y(price):.1f}' r='3' fill='{colour}'>"
            f"<title>{title}</title></circle>"
        )
    grid = "".join(
        f"<line x1='{MARGIN}' x2='{WIDTH - MARGIN}' y1='{y(p):.1f}' y2='{y(p):.1f}' stroke='#8884' />"
        f"<text x='4' y='{y(p) + 4:.1f}' font-size='11' fill='#888'>{p:.2f}</text>"
        for p in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='Up mid and own fills'>{grid}"
        f"<polyline points='{line}' fill='none' stroke='{MID_COLOUR}' stroke-width='1.2'/>"
        f"{''.join(marks)}</svg><p class='key'><span style='color:{MID_COLOUR}'>— Up mid</span>"
        f"<span style='color:{UP_COLOUR}'>● Up bought</span>"
        f"<span style='color:{DOWN_COLOUR}'>● Down bought, drawn at 1 − price</span></p>"
    )
