import pytest
import torch

from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.averages import snapshot
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.validation import measure_losses

from detectron2.modeling import build_model  # isort: skip

LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")


@pytest.fixture
def cfg_of(composed, tiny_words, prepared_dir, tmp_path, clean_catalog):
    def make(*words):
        run = composed(*tiny_words, *words)
        cfg = to_cfg(run, str(tmp_path))
        register(locate("blocks", prepared_dir, cfg.DATASETS.TEST), run.data.classes)
        return cfg

    return make


@pytest.mark.parametrize("norm", ["BN", "GN"])
def test_measuring_losses_changes_nothing_and_gives_the_same_again(cfg_of, norm):
    words = ("d2.MODEL.FPN.OUT_CHANNELS=32",) if norm == "GN" else ()
    cfg = cfg_of("d2.MODEL.RESNETS.NORM=BN", f"d2.MODEL.FPN.NORM={norm}", *words)
    torch.manual_seed(0)
    model = build_model(cfg)
    model.backbone.eval()  # as a frozen part may be
    before, modes = snapshot(model), [module.training for module in model.modules()]
    states = torch.get_rng_state()
    first = measure_losses(cfg, model)
    assert torch.equal(torch.get_rng_state(), states)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    torch.rand(3)
    assert measure_losses(cfg, model) == first
    assert {*first} == {*LOSSES, "total_loss"}
    assert first["total_loss"] == pytest.approx(sum(first[name] for name in LOSSES))
    with_workers = cfg_of("d2.MODEL.RESNETS.NORM=BN", "d2.DATALOADER.NUM_WORKERS=2")
    assert measure_losses(with_workers, model) == first
