"""The exact reservation price of a share that pays one dollar or nothing.

Pairs are worth exactly a dollar; the lead q of one token over the other, held to the end, pays q with
probability p. Under constant absolute risk aversion γ it is worth CE(q) = −ln(1 − p + p·e^{−γq})/γ, and n
more shares are worth [CE(q+n) − CE(q)]/n each. With y = logit p − γq that is
[softplus(y) − softplus(y − γn)]/(γn), or −log1p(σ(y)·expm1(−γn))/(γn), which keeps its digits as γn → 0.

The other token is the same with logit and lead negated, so that swapping the tokens swaps the prices exactly.
CE is concave: both reservations sum to at most a dollar, whatever the lead and the sizes.
"""

from libc.math cimport isfinite


def reservation_price(double p, double gamma, double lead, double n) -> float:
    """The most that a buyer may pay per share for `n` more shares of a token.

    Parameters
    ----------
    p : float
        Probability that it pays a dollar, 0 < p < 1.
    gamma : float
        Risk aversion, 1/dollars, at least 0.
    lead : float
        Shares held of it beyond those of the other token; negative where the other leads.
    n : float
        Shares, above 0.

    Returns
    -------
    float
        Dollars per share, 0 to 1. The other token's is that of (1 − p, gamma, −lead, n).
    """
    if not (0.0 < p < 1.0 and gamma >= 0.0 and n > 0.0 and isfinite(gamma * n) and isfinite(gamma * lead)):
        raise ValueError(f"expected 0 < p < 1, gamma >= 0, n > 0, got {p}, {gamma}, {n}")
    return reservation(logit(p), gamma, lead, n)


def half_spread(double gamma, double n, double decay) -> float:
    """The best distance from the reservation price for lots of `n`: ln(1 + γn/k)/(γn), dollars per share.

    Parameters
    ----------
    gamma, n : float
        As above.
    decay : float
        k: fills become rarer as e^(−k·distance), 1/dollars, above 0.
    """
    if not (gamma >= 0.0 and n > 0.0 and decay > 0.0 and isfinite(gamma * n)):
        raise ValueError(f"expected gamma >= 0, n > 0, decay > 0, got {gamma}, {n}, {decay}")
    return half_spread_of(gamma, n, decay)
