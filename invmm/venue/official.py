"""The venue's own client, `polymarket-client`, pointed at a profile.

It is imported only when something here is called: it is for what is rare and slow, and importing it takes
longer than starting the engine. Its environments are closed objects with one public instance, so the one for
another host is built here, with the package's own constructor, and nowhere else.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from invmm.errors import ConfigError
from invmm.venue.profile import POLYGON, Profile

if TYPE_CHECKING:
    from polymarket.environments import Environment

_PINNED = "0.14"


def official_environment(profile: Profile) -> Environment:
    """The environment of `polymarket-client` for a profile: its hosts, and the chain's contracts.

    Of a loopback profile every host is on this machine, those of services that the embedded venue does not
    have included, so that nothing leaves it by an oversight. Of a live profile what it does not name stays as
    the package has it.

    Raises
    ------
    ConfigError
        The package is missing or not built as this one expects, or the profile is of another chain than the
        package's only environment.
    """
    if profile.chain_id != POLYGON:
        raise ConfigError(f"expected a profile on chain {POLYGON}, got {profile.chain_id}")
    try:
        from polymarket import environments
    except ImportError as error:
        raise ConfigError(f"expected the package polymarket-client {_PINNED}, got {error}") from error
    try:
        public: Any = environments.PRODUCTION
        config, create = public._config, environments._create_environment
        named = _hosts(profile)
        if profile.loopback:
            named = {**_everywhere(config, profile), **named}
        made: Environment = create(name=profile.name, config=replace(config, **named))
    except (AttributeError, TypeError) as error:
        raise ConfigError(
            f"expected polymarket-client {_PINNED} with environments of its own make, got {error}"
        ) from error
    return made


def _hosts(profile: Profile) -> dict[str, str]:
    """Hosts that the profile names, by the package's names."""
    told = {
        "clob_url": profile.rest_url,
        "clob_market_ws_url": profile.market_url,
        "clob_user_ws_url": profile.user_url,
        "gamma_url": profile.gamma_url,
        "data_url": profile.data_url,
        "relayer_url": profile.relayer_url,
        "realtime_ws_url": profile.price_url,
        "rpc_url": profile.rpc_url,
    }
    return {name: url for name, url in told.items() if url}


def _everywhere(config: Any, profile: Profile) -> dict[str, str]:
    """Every host that the package knows, each replaced by the loopback venue's."""
    socket = profile.market_url.rsplit("/ws/", 1)[0]
    return {
        item.name: socket + "/ws" if item.name.endswith("_ws_url") else profile.rest_url
        for item in fields(config)
        if item.name.endswith("_url")
    }
