"""Unit-wise clipping of a whole model: whose rows belong to which weights, whose are left alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clipcore.distributed import local_part, splits_units
from clipcore.gradients import Gradients, index_on
from clipcore.kernels import Clipped, eager
from clipcore.model import Model


def clip_units_(
    model: Model, gradients: Gradients, clipping: Tensor, eps: Tensor, exclude: Sequence[str] = ()
) -> Clipped:
    """Scale each unit to at most clipping * max(||W_u||, eps), in place.

    Args:
        model: has the weights.
        gradients: are clipped.
        clipping: 0-d, bound on gradient norm / weight norm.
        eps: 0-d, weight norm that a unit is given at least.
        exclude: names and patterns of parameters whose gradients are only measured.

    Raises:
        ValueError: units of a sparse or spread gradient are not whole rows.
    """
    left = model.matching(exclude)
    if gradients.plain:
        names, parameters = model.names, model.parameters
        own = [None if left and names[owner] in left else parameters[owner] for owner in gradients.owners]
        return gradients.clip_units_(own, clipping, eps)
    weights: list[Tensor | None] = []
    split: dict[int, Tensor] = {}
    for position, owner in enumerate(gradients.owners):
        name, parameter = model.names[owner], model.parameters[owner]
        shards = gradients.shards
        if name in left:
            weights.append(None)
        elif shards is not None and shards.splits_units(position):
            if parameter.dim() > 1:
                raise _split_rows(name)
            split[position] = local_part(parameter)
            weights.append(None)
        else:
            weights.append(_rows(parameter, name))
    done = gradients.clip_units_(weights, clipping, eps)
    return _clip_split_(gradients, done, split, clipping, eps) if split else done


def refuse_split_rows(model: Model, exclude: Sequence[str]) -> None:
    """Raise ValueError for a trainable parameter whose rows are split over ranks: its gradient will be split alike."""
    left = model.matching(exclude)
    for name, parameter in zip(model.names, model.parameters, strict=True):
        if parameter.requires_grad and parameter.dim() > 1 and name not in left and splits_units(parameter):
            raise _split_rows(name)


def _split_rows(name: str) -> ValueError:
    return ValueError(f"mode 'agc' needs whole rows; those of {name!r} are split over ranks: exclude it")


def _rows(parameter: Tensor, name: str) -> Tensor:
    """The weights of a gradient's units: of a sparse gradient the rows that it has."""
    gradient = parameter.grad
    if gradient is None or gradient.layout is not torch.sparse_coo:
        return local_part(parameter)
    if gradient.sparse_dim() != 1:
        raise ValueError(f"mode 'agc' needs whole rows; the sparse gradient of {name!r} has parts of rows: exclude it")
    return parameter.index_select(0, gradient._indices()[0])


def _clip_split_(
    gradients: Gradients, done: Clipped, weights: dict[int, Tensor], clipping: Tensor, eps: Tensor
) -> Clipped:
    """Scale each vector whose one unit is split over ranks: with the norms of the whole that is one coefficient."""
    norm = done.before.norm
    index = index_on(norm.device, list(weights))
    own = torch.zeros_like(norm).index_copy_(0, index, eager.measure(list(weights.values())).norm)
    weight_norm = gradients.shards.norm(own, 2.0) if gradients.shards else own
    bound = clipping * weight_norm.clamp(min=eps)
    chosen = torch.zeros_like(norm, dtype=torch.bool).index_fill_(0, index, True)
    over = chosen & (norm > bound)
    written = gradients.scale_(torch.where(over, bound / norm.clamp(min=1e-6), 1.0), done.norm)
    return Clipped(done.before, written, done.count + over)
