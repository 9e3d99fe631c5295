"""The doctor's look at the chain: do its nodes answer and agree, and is there POL for gas?"""

from __future__ import annotations

import asyncio
import time

from invmm.errors import ConfigError, TransportError
from invmm.ops.checks import Line, Patient, failed, passed
from invmm.settlement.nodes import Nodes
from invmm.settlement.preflight import POL, Preflight
from invmm.settlement.rpc import endpoints_of

ADVICE = "name nodes that answer in [settlement] rpc_urls, or in the environment variable POLYGON_RPC_URL"


async def chain(patient: Patient) -> list[Line]:
    """Nodes of the chain, and the account's POL where it pays for its own transactions."""
    return await asyncio.to_thread(_look, patient)


def _look(patient: Patient) -> list[Line]:
    settings, who = patient.settlement, patient.identity
    try:
        endpoints = endpoints_of(settings, patient.profile, who.rpc_url if who is not None else None)
    except ConfigError as error:
        if patient.profile.loopback and not settings.rpc_urls:
            return []  # an embedded venue without a chain
        return [failed("chain", str(error), ADVICE)]
    try:
        nodes = Nodes(endpoints, patient.profile.chain_id, settings)
        nodes.look()
        problems = [*nodes.silent.values()]
        if nodes.heads and (doubt := nodes.doubt(time.time_ns())):
            problems.append(doubt)
        if problems:
            return [failed("chain", "; ".join(dict.fromkeys(problems)), ADVICE)]
        lines = [_seen(nodes)]
        if who is not None and who.signature_type == 0:
            lines.append(
                _gas(Preflight(nodes, who.address, settings).ask_balance(), settings.min_balance_pol)
            )
    except TransportError as error:
        return [failed("chain", str(error), ADVICE)]
    finally:
        for endpoint in endpoints:
            endpoint.close()
    return lines


def _seen(nodes: Nodes) -> Line:
    names = " and ".join(head.node.name for head in nodes.heads)
    detail = f"{names}: block {nodes.head}, final up to {nodes.finalized}"
    if len(nodes.heads) == 1:
        detail += "; a second node would have to agree with it (`[settlement] rpc_urls`)"
    return passed("chain", detail, nodes=len(nodes.heads), block=nodes.head, finalized=nodes.finalized)


def _gas(balance_wei: int, least_pol: float) -> Line:
    have = balance_wei / POL
    if have < least_pol:
        detail = f"{have:.4f} POL, expected at least {least_pol:g}"
        return failed("gas", detail, "send POL to the account: without it nothing is merged", pol=have)
    return passed("gas", f"{have:.4f} POL for the account's own transactions", pol=have)
