"""Our own methods: `gaussflow.rbig` with each rotation, the trainable flow, and a grown flow trained further."""

from __future__ import annotations

from benchmarks.methods import Method

OURS: dict[str, Method] = {}
