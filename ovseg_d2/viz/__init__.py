"""Pictures of results: colours, overlays with a legend, label files."""

from ovseg_d2.viz.colors import class_colors
from ovseg_d2.viz.label_file import save_labels
from ovseg_d2.viz.overlay import draw_overlay

__all__ = ["class_colors", "draw_overlay", "save_labels"]
