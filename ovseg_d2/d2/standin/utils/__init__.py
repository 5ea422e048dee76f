"""Processes, events, logs, files and seeds (``detectron2.utils``)."""
