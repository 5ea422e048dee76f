"""Stand-in for detectron2's projects."""
