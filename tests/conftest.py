"""Properties are tried on the same examples everywhere, and a busy machine fails none of them by its clock."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "course", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=False
)
settings.load_profile("course")
