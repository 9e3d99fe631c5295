"""`python -m invmm.sim.campaign`."""

import sys

from invmm.sim.campaign.command import main

sys.exit(main())
