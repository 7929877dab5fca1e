"""Mask R-CNN on the traffic subset of Open Images V5."""

import os

# Threads that have no work look for some this long (5 ms) before they sleep, and OpenMP reads this
# when it is loaded. Its own default is three times that: longer than the turn on a core that
# another training gives up for it, so that two of them on the same cores come to a standstill.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
