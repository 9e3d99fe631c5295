"""`python -m invmm.replay.compare`: which policy earns more, on the same flow and under the same limits.

The order of work: tune on the tuning part (`--tune`), commit, then decide on fresh generated markets or on
the recorded ones that are held back. What comes out is described in `docs/comparison.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from invmm import __version__
from invmm.errors import ConfigError, DataError, InvmmError
from invmm.replay import compare_text, tuning
from invmm.replay.compare_markets import (
    FRESH_SEED,
    Markets,
    digest_of,
    generated,
    generator_fingerprint,
    open_held_back,
    openings,
    recorded,
)
from invmm.replay.compare_options import parser
from invmm.replay.compare_page import write_page
from invmm.replay.compare_plan import HEADLINE, SCHEMA, TOXICITIES, VARIANTS, Plan, Planned, play
from invmm.replay.compare_report import report, toxicity_case
from invmm.replay.entrants import Entrant, entrants
from invmm.replay.statistics import DRAWS, SEED, block_length
from invmm.replay.trial import Conditions
from invmm.research.provenance import commit
from invmm.research.watch import SweepProgress
from invmm.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
TUNING_SEED: Final = 6
"""Of the points that are tried."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a comparison or a tuning; the exit code."""
    options = parser().parse_args(argv)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        _check(options)
        settings = Settings.load(options.config) if options.config else Settings()
        policies = entrants(options.policies)
        if all(each.text != options.base for each in policies):
            policies = entrants(f"{options.base},{','.join(each.text for each in policies)}", always=())
        for each in policies:
            each.settings(settings)  # what is wrong with it is said before anything is played
        if options.tune is not None:
            return _tune(options, settings, policies)
        return _compare(options, settings, policies)
    except (ConfigError, DataError) as error:
        print(f"invmm: {error}", file=sys.stderr)
        return EXIT_USAGE
    except InvmmError as error:
        print(f"invmm: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        kept = f"the same command goes on from {options.resume}" if options.resume else "nothing was kept"
        print(f"invmm: interrupted; {kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: Any) -> None:
    """SIGTERM means what Ctrl-C means."""
    raise KeyboardInterrupt


def _check(options: argparse.Namespace) -> None:
    for name, least in (
        ("jobs", 1),
        ("tune", 1),
        ("variant_markets", 1),
        ("toxicity_markets", 0),
        ("samples", 0),
    ):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name.replace('_', '-')}: expected at least {least}, found {value}")
    if options.open_held_back and (options.data is None or options.tune is not None):
        raise ConfigError("--open-held-back: expected with --data, and without --tune")
    if options.first_seed is not None and options.generated is None:
        raise ConfigError("--first-seed: expected with --generated")
    if options.tune is not None and options.tuned is None:
        raise ConfigError("--tune: expected --tuned FILE as well, where the parameters are written")
    if options.write is not None and options.tune is None:
        compare_text.check_marks(options.write, "recorded" if options.data else "generated")


def _markets(options: argparse.Namespace) -> Markets:
    if options.data is not None:
        return recorded(options.data, held_back=options.open_held_back)
    first = options.first_seed
    if first is None:
        first = 0 if options.tune is not None else FRESH_SEED
    return generated(options.generated, first)


def _tune(options: argparse.Namespace, settings: Settings, policies: Sequence[Entrant]) -> int:
    markets = _markets(options)
    if markets.part != "tuning":
        raise ConfigError(f"--tune: expected seeds below {FRESH_SEED}, found {markets.words}")
    seeds = [markets.seed_of(source) for source in markets.sources]
    plan = tuning.tuning_plan(policies, markets.sources, seeds, options.tune, TUNING_SEED)
    rows = _played(options, plan, settings)
    found = tuning.chosen(policies, rows, options.tune, TUNING_SEED)
    told = {
        "tuned": tuning.SCHEMA,
        "commit": commit(),
        "generator": generator_fingerprint(),
        "trials": options.tune,
        "seed": TUNING_SEED,
        "markets": markets.words,
        "policies": found,
    }
    _written(options.tuned, told)
    if not options.quiet:
        for text, each in found.items():
            gain = f"{each['profit_as_shipped']:+.2f} → {each['profit']:+.2f} $/market"
            print(f"{text:22} {gain}   {each['text']}")
    return EXIT_DONE


def _compare(options: argparse.Namespace, settings: Settings, policies: Sequence[Entrant]) -> int:
    markets = _markets(options)
    tuned = tuning.read_tuned(options.tuned) if options.tuned else None
    texts = {each.text: each.text for each in policies}
    if tuned is not None:
        texts |= {name: each["text"] for name, each in tuned["policies"].items() if name in texts}
    if options.open_held_back:
        open_held_back(
            options.openings,
            policies=list(texts.values()),
            tuned=digest_of(options.tuned) if options.tuned else None,
            trials=tuned["trials"] if tuned else 0,
            markets=len(markets.sources),
        )
    rows = _played(options, plan_of(options, markets, texts), settings)
    made = report(rows, options.base, _about(options, settings, markets, tuned))
    if options.json is not None:
        _written(options.json, made)
    if options.html is not None:
        write_page(made, options.html)
    if options.write is not None:
        compare_text.write_markdown(made, options.write)
    if not options.quiet:
        print(compare_text.text(made), end="")
    return EXIT_DONE


def plan_of(options: argparse.Namespace, markets: Markets, texts: dict[str, str]) -> Plan:
    """Every policy on every market: the headline, then what else is asked for."""
    trials: list[Planned] = []

    def add(source: str, index: int, case: str, conditions: Conditions, at: str = "") -> None:
        seed = markets.seed_of(source)
        series = case == HEADLINE and index < options.samples
        trials.extend(
            Planned(source + at, label, text, case, conditions, seed, series) for label, text in texts.items()
        )

    everything = options.variants == "all"
    few = len(markets.sources) if options.variant_markets is None else options.variant_markets
    for index, source in enumerate(markets.sources):
        add(source, index, HEADLINE, Conditions())
        for case in VARIANTS if everything and index < few else ():
            add(source, index, case.name, case.conditions)
        if everything and markets.kind == "generated" and index < options.toxicity_markets:
            for level in TOXICITIES:
                if level != 1.0:
                    add(source, index, toxicity_case(level), Conditions(), f"@{level:g}")
    return Plan(tuple(trials))


def _played(options: argparse.Namespace, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    with SweepProgress(len(plan.trials), enabled=not options.quiet and sys.stderr.isatty()) as progress:
        return play(
            plan,
            settings,
            jobs=options.jobs,
            path=options.resume,
            tell=lambda job, outcome, is_reused: progress.row(job, outcome, is_reused=is_reused),
        )


def _about(
    options: argparse.Namespace, settings: Settings, markets: Markets, tuned: dict[str, Any] | None
) -> dict[str, Any]:
    """What is known beside the trials."""
    made = commit(ignore=(options.openings,))
    is_recorded = markets.kind == "recorded"
    own = compare_text.RECORDED_CAVEAT if is_recorded else compare_text.GENERATED_CAVEAT
    risk = settings.risk
    return {
        "comparison": SCHEMA,
        "version": __version__,
        "commit": made.removesuffix("+changes"),
        "dirty": made.endswith("+changes"),
        "generator": generator_fingerprint(),
        "source": {"kind": markets.kind, "part": markets.part, "words": markets.words},
        "rules": compare_text.RULES_RECORDED if is_recorded else compare_text.RULES_TODAY,
        "caveats": [*compare_text.CAVEATS, own],
        "conditions": asdict(Conditions()),
        "common": {
            "order_size": settings.strategy.order_size,
            "num_levels": settings.strategy.num_levels,
            "max_cash_dollars": risk.max_cash_dollars,
            "max_direction_shares": risk.max_direction_shares,
            "max_gross_shares": risk.max_gross_shares,
            "max_open_orders": risk.max_open_orders,
        },
        "tuning": None
        if tuned is None
        else {
            "trials": tuned["trials"],
            "markets": tuned["markets"],
            "commit": tuned["commit"],
            "digest": digest_of(options.tuned),
            "chosen": {name: each["text"] for name, each in tuned["policies"].items()},
        },
        "openings": openings(options.openings),
        "bootstrap": {"block": block_length(len(markets.sources)), "draws": DRAWS, "seed": SEED},
    }


def _written(path: Path, told: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
