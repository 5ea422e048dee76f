"""What surrounds training: processes, events, logs, files, seeds (``detectron2.utils``)."""
