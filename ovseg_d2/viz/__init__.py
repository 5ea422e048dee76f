"""Results as images and files: colours, overlays with a legend, heat maps, label files, plots."""

from ovseg_d2.viz.clusters import draw_clusters
from ovseg_d2.viz.colors import class_colors
from ovseg_d2.viz.heatmap import Heatmaps, draw_heatmap
from ovseg_d2.viz.label_file import save_labels
from ovseg_d2.viz.overlay import draw_overlay
from ovseg_d2.viz.plots import plot_curves
from ovseg_d2.viz.segmentation import Segmentation

__all__ = [
    "Heatmaps",
    "Segmentation",
    "class_colors",
    "draw_clusters",
    "draw_heatmap",
    "draw_overlay",
    "plot_curves",
    "save_labels",
]
