"""Gradients spread over ranks: two processes over gloo, FSDP2 and tensor parallel."""

import math
import os
import socket
import threading

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import clipcore
from clipcore.integrations.session import Session
from clipcore.rules import RULES
from clipcore.warn import ClipWarning

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch is built without torch.distributed")

RANKS = 2


def whole_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))


def with_backward(model):
    torch.manual_seed(1)
    model(torch.randn(5, 7)).square().sum().backward()
    return model


def sharded_model(mesh):
    from torch.distributed.fsdp import fully_shard

    model = whole_model()
    fully_shard(model, mesh=mesh)
    return with_backward(model)


def gathered(model):
    return [parameter.grad.full_tensor() for parameter in model.parameters()]


def same_everywhere(value):
    """The value of every rank, which must be one and the same float."""
    values = [None] * RANKS
    dist.all_gather_object(values, value)
    assert len(set(values)) == 1, values
    return values[0]


def check_drop_ins(mesh):
    for norm_type in (1.0, 2.0, 3.0, math.inf):
        whole, model = with_backward(whole_model()), sharded_model(mesh)
        expected = nn.utils.clip_grad_norm_(whole.parameters(), 0.5, norm_type)
        norm = clipcore.clip_grad_norm_(model.parameters(), 0.5, norm_type)
        assert type(norm) is torch.Tensor
        assert same_everywhere(norm.item()) == pytest.approx(expected.item(), rel=1e-6)
        for ours, theirs in zip(gathered(model), whole.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.grad)


def check_torchs_norm(mesh):
    """What torch's get_total_norm returns, itself a DTensor, is taken for the norm that it is."""
    model = sharded_model(mesh)
    gradients = [parameter.grad for parameter in model.parameters()]
    clipcore.clip_grads_with_norm_(model.parameters(), 0.5, nn.utils.get_total_norm(gradients))
    assert clipcore.get_total_norm(gradients).item() == pytest.approx(0.5, rel=1e-5)


def check_modes(mesh):
    small = {"value": {"clip_value": 0.1}, "norm": {"max_norm": 0.5}, "layer": {"max_norm": 0.5}}
    for mode in RULES:
        whole, model = with_backward(whole_model()), sharded_model(mesh)
        expected = clipcore.Clipper(whole, mode, **small.get(mode, {})).clip_()
        stats = clipcore.Clipper(model, mode, **small.get(mode, {})).clip_()
        torch.testing.assert_close(stats.numbers, expected.numbers, equal_nan=True, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(stats.layers, expected.layers, equal_nan=True, rtol=1e-6, atol=1e-9)
        same_everywhere(tuple(stats.layers.flatten().tolist()))
        for ours, theirs in zip(gathered(model), whole.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.grad)


def check_nonfinite(mesh):
    """A NaN on one rank is every rank's business."""
    model = sharded_model(mesh)
    if dist.get_rank() == 1:
        model[2].weight.grad._local_tensor.view(-1)[0] = math.nan
    stats = clipcore.Clipper(model, nonfinite="zero").clip_()
    assert same_everywhere(stats.first_nonfinite) == "2.weight"
    assert stats.nonfinite == 1
    assert not any(gradient.any() for gradient in gathered(model))


def check_tensor_parallel(mesh):
    """Sharded, replicated and partial gradients in one list."""
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

    torch.manual_seed(2)
    full = torch.randn(4, 6)
    rank = dist.get_rank()
    gradients = [
        distribute_tensor(full.clone(), mesh, [Shard(1)]),
        distribute_tensor(full.clone(), mesh, [Replicate()]),
        DTensor.from_local(full * (rank + 1), mesh, [Partial()]),
    ]
    parameters = []
    for gradient in gradients:
        zeros = torch.zeros_like(gradient if not gradient.placements[0].is_partial() else gradients[1])
        parameters.append(nn.Parameter(zeros))
        parameters[-1].grad = gradient
    expected = math.sqrt(1 + 1 + 9) * full.norm().item()
    assert same_everywhere(clipcore.get_total_norm(gradients).item()) == pytest.approx(expected, rel=1e-6)
    norm = clipcore.clip_grad_norm_(parameters, 1.0)
    assert same_everywhere(norm.item()) == pytest.approx(expected, rel=1e-6)
    for parameter, factor in zip(parameters, [1, 1, 3], strict=True):
        torch.testing.assert_close(parameter.grad.full_tensor(), full * factor / expected)
    split = r"whole rows; those of '0' are split over ranks: exclude it"
    with pytest.raises(ValueError, match=split):
        clipcore.Clipper(parameters, "agc")
    clipper = clipcore.Clipper(parameters)
    with pytest.raises(ValueError, match=split):  # asked for from the page, it must not end the training
        clipper.update(mode="agc")
    assert clipper.clip_().mode == "norm"
    clipper.update(mode="agc", exclude=["0"])
    assert clipper.clip_().clipped_tensors == 2
    with pytest.raises(ValueError, match=split):
        clipper.update(exclude=[])
    parameters[0].requires_grad_(False)
    clipper = clipcore.Clipper(parameters, "agc")
    with pytest.raises(ValueError, match=split):  # of a frozen parameter, a gradient alone can tell
        clipper.clip_()
    parameters[0].grad = None
    assert clipper.clip_().mode == "agc"


def check_known_norm(mesh):
    """Pending sums are carried out before the gradients are scaled by a norm that is known."""
    from torch.distributed.tensor import DTensor, Partial, Replicate, distribute_tensor

    full = torch.arange(1.0, 5.0)
    gradient = DTensor.from_local(full * (dist.get_rank() + 1), mesh, [Partial()])
    parameter = nn.Parameter(torch.zeros_like(distribute_tensor(full, mesh, [Replicate()])))
    parameter.grad = gradient
    total = clipcore.get_total_norm([gradient])
    assert same_everywhere(total.item()) == pytest.approx(3 * full.norm().item(), rel=1e-6)
    clipcore.clip_grads_with_norm_([parameter], 0.5, total)
    torch.testing.assert_close(parameter.grad.full_tensor(), 0.5 * full / full.norm())


def check_updates(_):
    """A patch of the first rank holds everywhere from one and the same step on; the others may not update."""
    parameter = nn.Parameter(torch.zeros(2))
    clipper = clipcore.Clipper([parameter], group=dist.new_group(backend="gloo"))
    updates, thresholds = [], []
    for step in range(1, 8):
        if step in (2, 3) and dist.get_rank() == 0:
            updates += [clipper.update(max_norm=1.0 / step), clipper.update(nonfinite="skip", norm_type=math.inf)]
        parameter.grad = torch.tensor([3.0, 4.0])
        thresholds.append((clipper.clip_().threshold.item(), clipper.config["nonfinite"]))
    assert same_everywhere(tuple(thresholds)) == (
        *[(1.0, "propagate")] * 2,
        (1 / 2, "skip"),
        *[(1 / 3, "skip")] * 4,
    )
    assert [update.step for update in updates] == ([3, 3, 4, 4] if dist.get_rank() == 0 else [])
    if dist.get_rank() == 1:
        with pytest.raises(ValueError, match="only the first rank"):
            clipper.update(max_norm=1.0)


def check_numpy_numbers(_):
    """A patch may hold any number that the clipper takes; the default device is not where it travels."""
    parameter = nn.Parameter(torch.zeros(2))
    with torch.device("meta"):
        clipper = clipcore.Clipper([parameter], group=dist.new_group(backend="gloo"))
    if dist.get_rank() == 0:
        clipper.update(max_norm=np.float32(0.5))
        clipper.update(mode="agc", exclude=("0",))
    with torch.device("meta"):
        for _ in range(2):
            parameter.grad = torch.zeros(2, device="cpu")
            clipper.clip_()
    assert same_everywhere(repr(clipper.config)) == (
        "{'mode': 'agc', 'clipping': 0.01, 'eps': 0.001, 'exclude': ('0',), 'nonfinite': 'propagate'}"
    )
    clipper.load_state_dict(clipper.state_dict() | {"mode": "norm"})
    assert clipper.config["max_norm"] == 0.5


def check_rollback(_):
    """All ranks load a state while a patch is on its way: it is forgotten on all of them, and later ones arrive."""
    parameter = nn.Parameter(torch.zeros(2))
    clipper = clipcore.Clipper([parameter], group=dist.new_group(backend="gloo"))
    state, bounds = clipper.state_dict(), []
    for step in range(6):
        if dist.get_rank() == 0 and step in (0, 2):
            clipper.update(max_norm=0.5 if step == 0 else 0.25)
        parameter.grad = torch.tensor([3.0, 4.0])
        bounds.append(clipper.clip_().threshold.item())
        if step == 0:
            clipper.load_state_dict(state)
    assert same_everywhere(tuple(bounds)) == (1.0, 1.0, 1.0, 0.25, 0.25, 0.25)


def run(thread):
    thread.start()
    thread.join()


def check_lonely_update(_):
    """A script patches all ranks alike; a thread that steers one of them is worth a word."""
    clipper = clipcore.Clipper([nn.Parameter(torch.zeros(2))])
    clipper.update(max_norm=3.0)
    steering = threading.Thread(target=clipper.update, kwargs={"max_norm": 2.0})
    with pytest.warns(ClipWarning, match=r"this rank only, .* group=torch.distributed.new_group"):
        run(steering)


def check_sessions(_):
    """What the page asks of the first rank, all ranks of a framework do."""
    session = Session([nn.Parameter(torch.zeros(2))], run="spread", max_norm=2.0)
    assert same_everywhere(session.proceed())
    if dist.get_rank() == 0:
        session.clipper.update(max_norm=1.0)
        session._run.stop()
    else:
        with pytest.raises(ValueError, match="only the first rank"):
            session.clipper.update(max_norm=1.0)
    assert not same_everywhere(session.proceed())
    if dist.get_rank() == 0:
        session._run.finish(timeout_s=0.1)  # nobody listens
    session.finish()


def run_rank(rank, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CLIPCORE_URL": "http://127.0.0.1:9"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    mesh = dist.init_device_mesh("cpu", (RANKS,))
    for check in (
        check_drop_ins,
        check_torchs_norm,
        check_modes,
        check_nonfinite,
        check_tensor_parallel,
        check_known_norm,
        check_updates,
        check_numpy_numbers,
        check_rollback,
        check_lonely_update,
        check_sessions,
    ):
        check(mesh)
    dist.destroy_process_group()


def test_spread_gradients_are_clipped_as_the_whole():
    """Same norms, same gradients as one process would have, and the same floats on every rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_rank, args=(port,), nprocs=RANKS)
