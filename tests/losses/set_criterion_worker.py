"""Worker of test_set_criterion; see tests/rank_worker.py."""

import torch
import torch.distributed as dist

from ovseg_d2.losses import SetCriterion

rank = RANK  # noqa: F821


def in_order(class_logits, mask_logits, gt_ids, gt_masks):
    """Match object n of every image to proposal n."""
    counts = [min(len(ids), class_logits.shape[1]) for ids in gt_ids]
    return [(torch.arange(count), torch.arange(count)) for count in counts]


torch.manual_seed(0)
# In "one_rank" only one image of the first rank has objects.
cases = {"unequal": (3, 1, 0, 2), "one_rank": (2, 0, 0, 0), "nowhere": (0, 0, 0, 0)}
report = {}
for name, counts in cases.items():
    weights = torch.randn(4, 5, requires_grad=True)
    masks = torch.randn(4, 3, 6, 6, requires_grad=True)
    ids = [torch.randint(4, (count,)) for count in counts]
    gt_masks = [torch.rand(count, 6, 6) > 0.5 for count in counts]
    feats = torch.randn(4, 3, 4)
    share = slice(None) if rank is None else slice(2 * rank, 2 * rank + 2)
    losses = SetCriterion(matcher=in_order)(
        [(feats[share] @ weights, masks[share])], ids[share], gt_masks[share]
    )
    sum(losses.values()).backward()
    grads = [weights.grad, masks.grad]
    values = torch.stack([losses[key].detach() for key in sorted(losses)])
    if rank is not None:
        # What DistributedDataParallel does with gradients, and the mean over ranks with losses.
        for tensor in (*grads, values):
            dist.all_reduce(tensor)
            tensor /= 2
    report[name] = [values, *grads]
