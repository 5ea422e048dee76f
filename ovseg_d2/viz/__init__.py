"""Pictures of results: colours, overlays with a legend, label files."""

from ovseg_d2.viz.colors import class_colors
from ovseg_d2.viz.label_file import save_labels
from ovseg_d2.viz.overlay import draw_overlay
from ovseg_d2.viz.plots import plot_curves

__all__ = ["class_colors", "draw_overlay", "plot_curves", "save_labels"]
