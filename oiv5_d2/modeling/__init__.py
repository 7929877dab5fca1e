"""What our models compute in another way than Detectron2's; their weights are a stock Mask R-CNN's.

Import `oiv5_d2.training` first: it makes Detectron2 importable.
"""

from oiv5_d2.modeling.rcnn import PartialRCNN
from oiv5_d2.modeling.roi_heads import PartialROIHeads
from oiv5_d2.modeling.rpn import PartialRPN

__all__ = ["PartialRCNN", "PartialROIHeads", "PartialRPN"]
