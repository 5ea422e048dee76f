"""Pure tensor functions: no modules, no state, device and dtype from the inputs."""

from ovseg_d2.ops.affinity import *
from ovseg_d2.ops.ambiguity import *
from ovseg_d2.ops.background import *
from ovseg_d2.ops.crops import *
from ovseg_d2.ops.dense import *
from ovseg_d2.ops.ema import *
from ovseg_d2.ops.guided_upsampling import *
from ovseg_d2.ops.kmeans import *
from ovseg_d2.ops.labels import *
from ovseg_d2.ops.lambda_ensemble import *
from ovseg_d2.ops.mask_fusion import *
from ovseg_d2.ops.mask_targets import *
from ovseg_d2.ops.outliers import *
from ovseg_d2.ops.overlap import *
from ovseg_d2.ops.patch_masks import *
from ovseg_d2.ops.patch_pixels import *
from ovseg_d2.ops.pixel_refinement import *
from ovseg_d2.ops.pooling import *
from ovseg_d2.ops.precision import *
from ovseg_d2.ops.propagation import *
from ovseg_d2.ops.pseudo_labels import *
from ovseg_d2.ops.random_masks import *
from ovseg_d2.ops.refine import *
from ovseg_d2.ops.sinkhorn import *
from ovseg_d2.ops.synonyms import *
from ovseg_d2.ops.windows import *
