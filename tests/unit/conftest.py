"""What holds for every unit test: no property has a deadline, since a busy machine is no defect."""

from hypothesis import HealthCheck, settings

settings.register_profile("m43", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("m43")
