"""``detectron2.evaluation``: running a model over a dataset, and its metrics."""
