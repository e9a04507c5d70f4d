"""Benchmarks of gaussflow: held-out nats of densities beside baselines and rivals. Run ``python -m benchmarks``."""
