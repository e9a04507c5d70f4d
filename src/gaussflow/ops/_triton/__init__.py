"""Kernels in Triton: what `gaussflow.ops` does on a GPU in single precision and below. Imported only where they run."""
