"""Worker of test_contrastive; see tests/rank_worker.py."""

import warnings

import torch
import torch.distributed as dist
import torch.nn.functional as F

from ovseg_d2.losses import contrastive_loss, gather_with_grad

# Warnings of torch about its own functions must not reach users.
warnings.simplefilter("error", FutureWarning)
rank = RANK  # noqa: F821

torch.manual_seed(0)
images = torch.randn(6, 5, dtype=torch.float64)
texts = torch.randn(6, 2, 5, dtype=torch.float64)
# Two captions per image; 4 and 7 occur on both ranks.
ids = torch.tensor([[4, 1], [7, 4], [5, 2], [7, 3], [4, 8], [6, 6]])
towers = {
    "image": torch.randn(5, 4, dtype=torch.float64, requires_grad=True),
    "text": torch.randn(5, 4, dtype=torch.float64, requires_grad=True),
    "log_scale": torch.tensor(1.5, dtype=torch.float64, requires_grad=True),
}
share = slice(None) if rank is None else slice(3 * rank, 3 * rank + 3)
pairs = (
    F.normalize(images[share] @ towers["image"], dim=-1),
    F.normalize(texts[share] @ towers["text"], dim=-1),
    towers["log_scale"].exp(),
)
plain_loss = contrastive_loss(*pairs)  # all texts differ, whichever rank they are on
loss = contrastive_loss(*pairs, ids[share])
loss.backward()
report = {
    "loss": loss.item(),
    "plain_loss": plain_loss.item(),
    "grads": {name: tower.grad for name, tower in towers.items()},
}

if rank is not None:
    # What DistributedDataParallel does with gradients.
    for grad in report["grads"].values():
        dist.all_reduce(grad)
        grad /= 2
    report["gathered_ids"] = gather_with_grad(ids[share]).tolist()
    values = torch.arange(12.0).view(6, 2)[share].clone().requires_grad_()
    gathered = gather_with_grad(values)
    ((rank + 1) * gathered).sum().backward()
    report |= {"gathered": gathered.detach(), "gathered_grad": values.grad}
