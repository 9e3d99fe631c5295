"""The per-token data clock: which tokens owe a first book, which have gone silent, and when to look again.

Liveness is judged on content: an answered PING proves nothing about data. Pure: told what was heard and what
time it is (engine time, ns), says what to do. One object per connection, since every connection starts from
fresh books.

    subscribed ─▶ WAITING ──first book──▶ LIVE ──no data for the limit──▶ SILENT
                    │ ▲
          deadline  ▼ │ unsubscribe and subscribe again, `redrives` times
                  MISSING
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from invmm.feed.states import TokenState

MS = 1_000_000
GAP_QUANTILE = 0.999
GAPS_NEEDED = 1000  # below that the quantile is one of the few largest values


@dataclass
class _Token:
    deadline_ns: int
    redrives_left: int
    state: TokenState = TokenState.WAITING
    heard_ns: int = 0


@dataclass(frozen=True)
class Verdict:
    """What the data clocks ask for.

    `missing` not empty: replace the connection. `silent`: not tradable; the connection is dead or the market
    is quiet. `overdue`: those of `silent` that no quiet market explains.
    """

    redrive: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()


@dataclass
class Liveness:
    """Data clocks of the tokens of one connection. All times in ns of engine time.

    Attributes
    ----------
    first_event_ns : int
        How long a token may owe its first book, after subscribing and after each redrive.
    redrives : int
        How often a token is subscribed again before the connection is given up.
    silence_ns, silence_cap_ns : int
        The limit of silence, and what it may grow to by `learn`; beyond the latter a silent token is overdue.
    """

    first_event_ns: int
    redrives: int
    silence_ns: int
    silence_cap_ns: int
    limit_ns: int = field(init=False)
    _tokens: dict[str, _Token] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.limit_ns = self.silence_ns

    def subscribed(self, token_ids: Iterable[str], now_ns: int) -> None:
        """Starts the clocks of tokens that were just subscribed."""
        for token_id in token_ids:
            self._tokens[token_id] = _Token(now_ns + self.first_event_ns, self.redrives)

    def removed(self, token_ids: Iterable[str]) -> None:
        """Forgets tokens."""
        for token_id in token_ids:
            self._tokens.pop(token_id, None)

    def learn(self, gap_counts: Sequence[int]) -> None:
        """Sets the limit to max(silence_ns, 99.9 % quantile of the gaps), at most silence_cap_ns.

        `gap_counts[i]` counts gaps below 2^i ms; the quantile is the upper edge of its bucket.
        """
        total = sum(gap_counts)
        if total < GAPS_NEEDED:
            return
        seen = 0
        for bucket, count in enumerate(gap_counts):
            seen += count
            if seen >= GAP_QUANTILE * total:
                self.limit_ns = min(max(self.silence_ns, (1 << bucket) * MS), self.silence_cap_ns)
                return

    def observe(self, token_id: str, heard_ns: int, has_book: bool) -> None:
        """Tells when a token's data last arrived on this connection (0: never) and whether a book came."""
        token = self._tokens[token_id]
        token.heard_ns = max(token.heard_ns, heard_ns)
        if has_book and token.state in (TokenState.WAITING, TokenState.MISSING):
            token.state = TokenState.LIVE

    def check(self, now_ns: int) -> Verdict:
        """What to do at `now_ns`. A token is reported as missing once, as silent as long as it is."""
        redrive: list[str] = []
        missing: list[str] = []
        silent: list[str] = []
        overdue: list[str] = []
        for token_id, token in self._tokens.items():
            if token.state is TokenState.WAITING and now_ns >= token.deadline_ns:
                if token.redrives_left:
                    token.redrives_left -= 1
                    token.deadline_ns = now_ns + self.first_event_ns
                    redrive.append(token_id)
                else:
                    token.state = TokenState.MISSING
                    missing.append(token_id)
            elif token.state in (TokenState.LIVE, TokenState.SILENT):
                silence_ns = now_ns - token.heard_ns
                token.state = TokenState.LIVE if silence_ns < self.limit_ns else TokenState.SILENT
                if token.state is TokenState.SILENT:
                    silent.append(token_id)
                    if silence_ns >= self.silence_cap_ns:
                        overdue.append(token_id)
        return Verdict(tuple(redrive), tuple(missing), tuple(silent), tuple(overdue))

    def due_ns(self) -> int | None:
        """When `check` could next have something new to say unasked; None when never."""
        due: list[int] = []
        for token in self._tokens.values():
            if token.state is TokenState.WAITING:
                due.append(token.deadline_ns)
            elif token.state is TokenState.LIVE:
                due.append(token.heard_ns + self.limit_ns)
            elif token.state is TokenState.SILENT:
                due.append(token.heard_ns + self.silence_cap_ns)
        return min(due, default=None)

    def states(self) -> dict[str, TokenState]:
        """State of each token as of the last call of `observe` or `check`."""
        return {token_id: token.state for token_id, token in self._tokens.items()}

    def all_live(self) -> bool:
        """Every token has its book and is heard; true without tokens."""
        return all(token.state is TokenState.LIVE for token in self._tokens.values())
