"""The two of detectron2's projects of which the plugin uses something."""
