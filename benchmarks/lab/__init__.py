"""The convergence laboratory: what Gaussianization does as the dimension grows, beside what theory says."""
