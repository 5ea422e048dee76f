"""Stand-in for what the plugin uses of detectron2's projects."""
