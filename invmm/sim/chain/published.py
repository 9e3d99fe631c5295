"""Where the published conditional tokens lie, when their npm package is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from invmm.errors import ConfigError

PACKAGE: Final = "@gnosis.pm/conditional-tokens-contracts"
VERSION: Final = "1.0.3"


def node_modules() -> Path:
    """The folder of npm packages: `INVMM_NODE_MODULES`, else `invmm/node_modules` among the user's caches."""
    given = os.environ.get("INVMM_NODE_MODULES")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "invmm" / "node_modules"


def build_file() -> Path:
    """The published contract's build file. ConfigError, saying how to fetch it, if it is not there."""
    path = node_modules() / PACKAGE / "build" / "contracts" / "ConditionalTokens.json"
    if not path.is_file():
        raise ConfigError(
            f"published conditional tokens: expected {path}; "
            f"npm install --ignore-scripts --prefix {node_modules().parent} {PACKAGE}@{VERSION}"
        )
    return path
