"""How the compiled modules were built: benchmarks want a release build, test runs print the mode."""

cdef extern from *:
    const char* INVMM_BUILD_MODE


def build_mode() -> str:
    """Build mode of the compiled modules.

    Returns
    -------
    str
        "release", "checked" or "coverage"; see `setup.py`.
    """
    return INVMM_BUILD_MODE.decode()
