"""The project of detectron2 of which the plugin uses something."""
