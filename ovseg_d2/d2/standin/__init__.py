"""The part of detectron2 that the plugin uses, for machines on which detectron2 is missing.

Names, arguments, error types and messages are detectron2's, so that code moves between the two
unchanged. Modules log under the literal names ``detectron2.*`` so that one ``setup_logger`` call
reaches them on both. Nothing here is ever put into ``sys.modules`` under detectron2's name.
"""
