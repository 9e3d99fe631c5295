"""A regular package, because py-clob-client installs another `tests` that would hide a namespace package."""
