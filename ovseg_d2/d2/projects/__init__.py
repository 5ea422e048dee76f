"""The project of detectron2 that the plugin uses."""
