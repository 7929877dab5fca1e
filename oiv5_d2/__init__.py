"""Mask R-CNN on the traffic subset of Open Images V5."""

import os

# Threads that have no work look for some this long (half a millisecond) before they sleep; OpenMP
# reads this when it is loaded. Its own default is thirty times that: longer than the turn on a core
# that another training gives up for it, so that two of them on the same cores come to a standstill.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
