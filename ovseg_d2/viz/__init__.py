"""Results as images and files: colours, overlays with a legend, heat maps, label files, plots."""

from ovseg_d2.viz.clusters import *
from ovseg_d2.viz.colors import *
from ovseg_d2.viz.heatmap import *
from ovseg_d2.viz.label_file import *
from ovseg_d2.viz.overlay import *
from ovseg_d2.viz.plots import *
from ovseg_d2.viz.segmentation import *
