"""Operations beside what the machine allows, torch's functions and other packages: ``python -m benchmarks.ops``."""

import os

# torch's profiler, which weighs, announces itself otherwise, and every block of memory that was there before.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
