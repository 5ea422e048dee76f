"""Worker of test_sinkhorn; see tests/rank_worker.py."""

import torch

from ovseg_d2.ops import assign_clusters

rank = RANK  # noqa: F821

torch.manual_seed(0)
cosines, memory = torch.rand(11, 4), torch.rand(5, 4)
report = {}
# Numbers of masks of rank 0 and of rank 1.
for counts in ((3, 8), (11, 0), (0, 0), (5, 6)):
    share = {None: slice(0, sum(counts)), 0: slice(0, counts[0]), 1: slice(counts[0], sum(counts))}
    for dtype, official in ((torch.float32, False), (torch.bfloat16, True)):
        logits = cosines[share[rank]].to(dtype)
        options = {"epsilon": 0.01, "num_iters": 4, "official": official, "memory": memory}
        report[counts, official] = vars(assign_clusters(logits, **options))
