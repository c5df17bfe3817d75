"""Mixed precision: the GradScaler's own logic and the Clipper's do not disturb each other."""

import math

import pytest
import torch
from torch import nn

from clipcore import Clipper


def train_with_scaler(mode, dtype, optimizer_values, clip):
    """Ten steps of mixed precision; the fourth meets an infinite loss. Returns what is left of it."""
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **optimizer_values)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    clipper = Clipper(model, mode, scaler=scaler)
    records = []
    for step in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = model(torch.randn(16, 8)).float().square().mean()
        scaler.scale(loss * (math.inf if step == 4 else 1.0)).backward()
        if clip:
            scaler.unscale_(optimizer)
            records.append(clipper.clip_())
        scaler.step(optimizer)
        scaler.update()
    return model, scaler, clipper, records


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [True, False])
class TestGradScaler:
    @pytest.mark.parametrize("mode", ["norm", "autoclip", "zclip", "adagc"])
    def test_the_scaler_skips_its_step_and_statistics_stay_finite(self, mode, dtype, fused):
        """In order, the scale halves once and no parameter and no statistic meets the infinity."""
        model, scaler, clipper, records = train_with_scaler(mode, dtype, {"fused": fused}, clip=True)
        assert scaler.get_scale() == 512.0
        assert all(parameter.isfinite().all() for parameter in model.parameters())
        assert [int(stats.nonfinite) > 0 for stats in records] == [step == 4 for step in range(10)]
        state = clipper.state_dict()["rule"]
        assert not any(tensor.isnan().any() for tensor in state.values())

    def test_a_clipper_that_only_looks_changes_nothing(self, dtype, fused):
        """Mode off trains to the same bits as no Clipper at all."""
        watched = train_with_scaler("off", dtype, {"fused": fused}, clip=True)[0]
        alone = train_with_scaler("off", dtype, {"fused": fused}, clip=False)[0]
        assert all(map(torch.equal, watched.parameters(), alone.parameters()))
