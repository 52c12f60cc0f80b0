"""Puts this folder on the path, so that every kind of test finds `support`."""

import os

# Before scikit-learn loads: OpenMP threads that spin while they wait slow a busy machine down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
