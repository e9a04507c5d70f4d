"""Differential privacy: domains told without the rows, noise and its account, and a law of noisy counts."""
