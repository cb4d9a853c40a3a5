"""What holds for every unit test: no property has a deadline, since a busy machine is no defect."""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

settings.register_profile("m43", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Where a checkout may not be written, no example that failed is kept for the next time.
settings.register_profile("m43-read-only", settings.get_profile("m43"), database=None)
settings.load_profile("m43" if os.access(Path.cwd(), os.W_OK) else "m43-read-only")
