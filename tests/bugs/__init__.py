"""Bugs put into the engine on purpose: a simulator that never fails proves nothing.

`catalogue.py` lists them, `seeding.py` puts them in, `python -m tests.bugs` has the campaign find each one. A
bug is a patch that a test applies, in its own process or to a copy of the sources; shipped code knows none.
"""
