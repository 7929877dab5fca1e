"""Images in the event storage of processes that write nothing."""

import pytest
import torch

from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.features import Features
from oiv5_d2.training.launch import Launch, launch
from oiv5_d2.training.trainer import Trainer

from detectron2.utils import comm  # isort: skip


def count_images(cfg, datasets, classes):
    """Train, and return how many images each process still has."""
    torch.set_num_threads(1)
    register(datasets, classes)
    trainer = Trainer(cfg, None, list, Features("segm/AP"), {})
    trainer.train()
    return comm.all_gather(len(trainer.storage._vis_data))


@pytest.mark.slow
def test_no_process_keeps_the_images_of_former_steps(composed, tiny_words, prepared_dir, tmp_path):
    words = ("d2.SOLVER.MAX_ITER=3", "d2.VIS_PERIOD=1", "d2.DATASETS.TEST=[]", "launch=cpu2")
    run = composed(*tiny_words, *words)
    cfg = to_cfg(run, str(tmp_path))
    datasets = locate("blocks", prepared_dir, cfg.DATASETS.TRAIN)
    two = Launch(nproc_per_node=2)
    assert launch(two, tmp_path, count_images, cfg, datasets, list(run.data.classes)) == [0, 0]
