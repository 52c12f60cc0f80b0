"""Puts this folder on the path, so that every kind of test finds `support`."""

import os

from hypothesis import HealthCheck, settings

# Before scikit-learn loads: OpenMP threads that spin while they wait slow a busy machine down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A busy machine is no failure: no limit on an example's time, nor on how long it took to think up.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
