"""What the part scripts share: configurations, training, records, workers, figures, options.

This file is imported before PyTorch and matplotlib, so that two environment variables can
still be corrected:

- OMP_PROC_BIND, which clusters set, would bind all worker processes to the same core.
- MPLBACKEND names a notebook's window. A script that a notebook starts with `!` has none.
"""

import os
import sys

for variable in ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"):
    os.environ.pop(variable, None)
if "ipykernel" not in sys.modules:
    os.environ["MPLBACKEND"] = "Agg"  # no part opens a window
