"""torch's own cases for its four functions hold with ours in their place; the edges where ours are better hold too."""

import decimal
import math

import numpy as np
import pytest
import torch
from torch import nn

import clipcore
from clipcore import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm

NORM_TYPES = [0.5, 1.0, 1.5, 2.0, 4.0, "inf"]
FOREACH = [True, False, None]

pytestmark = pytest.mark.usefixtures("kernels")


def with_grads(*grads):
    parameters = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    return parameters


def two_layers():
    """The gradient of a 10x10 weight is 1 to 100, that of its bias 1/1000: norms known by hand."""
    return with_grads(torch.arange(1.0, 101).view(10, 10), torch.ones(10).div(1000))


class TestClipGradNorm:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("foreach", FOREACH)
    @pytest.mark.parametrize("max_norm", [2.0, 2])
    def test_scales_all_gradients_by_one_factor_to_the_bound(self, norm_type, foreach, max_norm):
        """The norm before comes back, every element shrinks by one factor, and the norm after is the bound."""
        parameters = two_layers()
        before = [parameter.grad.clone() for parameter in parameters]
        norm = clip_grad_norm_(parameters, max_norm, norm_type=norm_type, foreach=foreach)
        after = get_total_norm([parameter.grad for parameter in parameters], norm_type)
        torch.testing.assert_close(norm, get_total_norm(before, norm_type))
        torch.testing.assert_close(after, torch.tensor(2.0))
        ratios = torch.cat([(p.grad / g).flatten() for p, g in zip(parameters, before, strict=True)])
        torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_agrees_with_torch(self, norm_type, foreach):
        """Same returned norm and same gradients as torch.nn.utils.clip_grad_norm_."""
        grads = [torch.randn(10, 10), torch.randn(3), torch.randn(())]
        ours, theirs = with_grads(*grads), with_grads(*grads)
        norm = clip_grad_norm_(ours, 0.7, norm_type, foreach=foreach)
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs, 0.7, float(norm_type), foreach=foreach))
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our.grad, their.grad)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_small_gradients_stay_bit_for_bit(self, norm_type, foreach):
        """Below the bound nothing changes."""
        parameters = with_grads(torch.rand(10, 10).div(10_000), torch.ones(10).div(500))
        before = [parameter.grad.clone() for parameter in parameters]
        norm = clip_grad_norm_(parameters, 20.0, norm_type=norm_type, foreach=foreach)
        assert norm <= 20.0
        assert all(torch.equal(p.grad, g) for p, g in zip(parameters, before, strict=True))

    @pytest.mark.parametrize("foreach", FOREACH)
    def test_a_single_tensor_is_a_list_of_one(self, foreach):
        """A parameter alone and in a list are clipped alike."""
        one, other = with_grads(torch.rand(4, 4)), with_grads(torch.rand(4, 4))
        other[0].grad.copy_(one[0].grad)
        norms = clip_grad_norm_(one[0], 0.5, foreach=foreach), clip_grad_norm_(other, 0.5, foreach=foreach)
        assert norms[0] == norms[1]
        assert torch.equal(one[0].grad, other[0].grad)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("scalar", [math.inf, -math.inf, math.nan, 2e22, -2e22, 2e200, -2e200])
    @pytest.mark.parametrize("only_one", [True, False])
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_error_if_nonfinite_raises_where_torch_does(self, norm_type, scalar, only_one, foreach):
        """In float64 2e200 overflows for some p and not for others, as in torch; an error leaves the gradients."""
        grad = torch.ones(10, dtype=torch.float64)
        grad[1 : 2 if only_one else None] *= scalar
        ours, theirs = with_grads(grad), with_grads(grad)
        clip_theirs = nn.utils.clip_grad_norm_
        try:
            expected = clip_theirs(theirs, 1.0, float(norm_type), error_if_nonfinite=True, foreach=foreach)
        except RuntimeError:
            with pytest.raises(RuntimeError, match=f"The total norm of order {float(norm_type)} for gradients"):
                clip_grad_norm_(ours, 1.0, norm_type, error_if_nonfinite=True, foreach=foreach)
            assert torch.equal(ours[0].grad.nan_to_num(), grad.nan_to_num())
        else:
            norm = clip_grad_norm_(ours, 1.0, norm_type, error_if_nonfinite=True, foreach=foreach)
            torch.testing.assert_close(norm, expected)
            torch.testing.assert_close(ours[0].grad, theirs[0].grad)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("scalar", [math.inf, math.nan])
    def test_nonfinite_norms_propagate_as_in_torch(self, norm_type, scalar):
        """Without error_if_nonfinite a NaN norm makes NaN of everything, an infinite one zero and NaN."""
        grad = torch.ones(10)
        grad[3] = scalar
        ours, theirs = with_grads(grad), with_grads(grad)
        norm = clip_grad_norm_(ours, 1.0, norm_type)
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs, 1.0, float(norm_type)), equal_nan=True)
        torch.testing.assert_close(ours[0].grad, theirs[0].grad, equal_nan=True)

    @pytest.mark.parametrize("norm_type", [0.0, -1.0, -2.0, -math.inf])
    def test_norm_types_up_to_zero_mean_what_torch_makes_of_them(self, norm_type):
        """With p = 0 it counts, a negative p is the formula, -inf the smallest."""
        grads = [torch.randn(10, 10), torch.randn(3)]
        norm = get_total_norm(grads, norm_type)
        torch.testing.assert_close(norm, nn.utils.get_total_norm(grads, norm_type))

    def test_an_infinite_bound_only_measures(self):
        """max_norm = inf changes nothing, even when the norm is infinite."""
        parameters = with_grads(torch.tensor([1.0, math.inf]))
        assert clip_grad_norm_(parameters, math.inf) == math.inf
        assert torch.equal(parameters[0].grad, torch.tensor([1.0, math.inf]))

    def test_a_zero_bound_zeroes(self):
        """max_norm = 0 is allowed and makes all gradients zero."""
        parameters = two_layers()
        clip_grad_norm_(parameters, 0.0)
        assert not any(parameter.grad.any() for parameter in parameters)

    @pytest.mark.parametrize("max_norm", [-1.0, math.nan])
    def test_a_negative_or_nan_bound_is_refused(self, max_norm):
        """A ValueError names the argument and the rule, and the gradients stay as they were."""
        parameters = two_layers()
        before = parameters[0].grad.clone()
        with pytest.raises(ValueError, match=r"max_norm must be >= 0, got"):
            clip_grad_norm_(parameters, max_norm)
        assert torch.equal(parameters[0].grad, before)

    @pytest.mark.parametrize(
        ("dtype", "value", "expected"),
        [
            (torch.float32, 1e20, 2e20),
            (torch.float32, 1e-23, 2e-23),
            (torch.float16, 60000.0, 120000.0),
            (torch.bfloat16, 5.0, 10.0),
        ],
    )
    def test_norms_neither_overflow_nor_underflow(self, dtype, value, expected):
        """The true norm, in float32, where torch gives inf, 0 or a rounded one."""
        parameters = with_grads(torch.full((4,), value, dtype=dtype))
        norm = clip_grad_norm_(parameters, 1.0)
        assert norm.dtype == torch.float32
        torch.testing.assert_close(norm, torch.tensor(expected))
        if expected > 1:
            torch.testing.assert_close(parameters[0].grad, torch.full((4,), 0.5, dtype=dtype))

    def test_the_coefficient_is_not_rounded_to_bfloat16(self):
        """Elements are multiplied in float32 and rounded once."""
        parameters = with_grads(torch.full((1000,), 1.0, dtype=torch.bfloat16))
        norm = clip_grad_norm_(parameters, 10.0)
        assert torch.equal(parameters[0].grad, (torch.ones(1000) * (10.0 / norm)).bfloat16())

    def test_the_norm_is_float64_if_a_gradient_is(self):
        """Mixed with float32, and alone."""
        parameters = with_grads(torch.tensor([3.0]), torch.tensor([4.0], dtype=torch.float64))
        assert clip_grad_norm_(parameters, 1.0).dtype == torch.float64
        torch.testing.assert_close(parameters[1].grad, torch.tensor([0.8], dtype=torch.float64), rtol=1e-6, atol=0)

    def test_an_exhausted_generator_warns_and_does_nothing(self):
        """The warning has torch's text, and the norm is 0."""
        generator = (parameter for parameter in two_layers())
        list(generator)
        with pytest.warns(UserWarning, match="`parameters` is an empty generator, no gradient clipping will occur"):
            assert clip_grad_norm_(generator, 1.0) == 0.0

    def test_a_generator_is_used_once(self):
        """Measuring and clipping see the same tensors."""
        parameters = two_layers()
        clip_grad_norm_((parameter for parameter in parameters), 1.0)
        torch.testing.assert_close(get_total_norm([p.grad for p in parameters]), torch.tensor(1.0))

    def test_without_gradients_the_norm_is_float32_whatever_the_default(self):
        """As it is with gradients that are not float64."""
        torch.set_default_dtype(torch.float64)
        try:
            norms = clip_grad_norm_([], 1.0), get_total_norm([])
        finally:
            torch.set_default_dtype(torch.float32)
        assert {norm.dtype for norm in norms} == {torch.float32}

    @pytest.mark.parametrize("parameters", [[], [nn.Parameter(torch.ones(2))]])
    def test_without_gradients_the_norm_is_zero(self, parameters):
        """No parameters and no gradients: a no-op."""
        assert clip_grad_norm_(parameters, 1.0) == 0.0

    def test_a_parameter_listed_twice_counts_once(self):
        """Norm 5, not 7.07, and it is scaled once."""
        (parameter,) = with_grads(torch.tensor([3.0, 4.0]))
        assert clip_grad_norm_([parameter, parameter], 1.0) == 5.0
        torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8]))

    def test_a_gradient_that_two_parameters_share_counts_once(self):
        """Equal address, shape, stride and dtype: one gradient."""
        one, other = with_grads(torch.tensor([3.0, 4.0]), torch.zeros(2))
        other.grad = one.grad
        assert clip_grad_norm_([one, other], 1.0) == 5.0
        torch.testing.assert_close(one.grad, torch.tensor([0.6, 0.8]))

    def test_the_same_tensor_keeps_its_place(self):
        """In place: same object, same address; the version counter says that it was written."""
        parameters = two_layers()
        before = [(p.grad, p.grad.data_ptr(), p.grad._version) for p in parameters]
        clip_grad_norm_(parameters, 1.0)
        for parameter, (grad, address, version) in zip(parameters, before, strict=True):
            assert parameter.grad is grad
            assert grad.data_ptr() == address
            assert grad._version > version


class TestClipGradValue:
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_clamps_every_element(self, foreach):
        """The case of torch: what is larger becomes the limit, parameters without gradient are passed over."""
        grads = [torch.arange(-50.0, 50).view(10, 10).div(5), torch.ones(10).mul(2)]
        parameters = [*with_grads(*grads), nn.Parameter(torch.ones(2))]
        count = clip_grad_value_(parameters, 2.5, foreach=foreach)
        for parameter, grad in zip(parameters, grads, strict=False):
            assert torch.equal(parameter.grad, grad.clamp(-2.5, 2.5))
        assert count == sum((grad.abs() > 2.5).sum() for grad in grads)

    def test_a_single_tensor_is_a_list_of_one(self):
        """A parameter by itself is clamped as it is in a list."""
        one, other = with_grads(torch.arange(-5.0, 5)), with_grads(torch.arange(-5.0, 5))
        clip_grad_value_(one[0], 2.5)
        clip_grad_value_(other, 2.5)
        assert torch.equal(one[0].grad, other[0].grad)

    def test_nan_stays_and_infinities_become_the_limit(self):
        """NaN is not counted as clamped."""
        parameters = with_grads(torch.tensor([math.nan, math.inf, -math.inf, 0.5]))
        assert clip_grad_value_(parameters, 1.0) == 2
        torch.testing.assert_close(parameters[0].grad, torch.tensor([math.nan, 1.0, -1.0, 0.5]), equal_nan=True)

    @pytest.mark.parametrize("clip_value", [-1.0, math.nan])
    def test_a_negative_or_nan_limit_is_refused(self, clip_value):
        """A ValueError names the argument and the rule, and the gradients stay as they were."""
        parameters = with_grads(torch.ones(3))
        with pytest.raises(ValueError, match="clip_value must be >= 0, got"):
            clip_grad_value_(parameters, clip_value)
        assert torch.equal(parameters[0].grad, torch.ones(3))

    @pytest.mark.parametrize("parameters", [[], [nn.Parameter(torch.ones(2))]])
    def test_without_gradients_it_does_nothing(self, parameters):
        """Nothing was clamped, so the count is 0, where torch raises."""
        assert clip_grad_value_(parameters, 1.0) == 0

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_the_limit_is_rounded_to_the_dtype(self, dtype):
        """An element that equals the rounded limit is not changed and not counted."""
        limit = torch.tensor(0.1, dtype=dtype)
        parameters = with_grads(torch.stack([limit, 2 * limit]))
        assert clip_grad_value_(parameters, 0.1) == 1
        assert torch.equal(parameters[0].grad, limit.expand(2))

    def test_a_complex_element_is_clamped_in_modulus(self):
        """An element longer than the limit keeps its direction; a shorter one stays."""
        parameters = with_grads(torch.tensor([3 + 4j, 0.3 + 0.4j]))
        assert clip_grad_value_(parameters, 1.0) == 1
        torch.testing.assert_close(parameters[0].grad, torch.tensor([0.6 + 0.8j, 0.3 + 0.4j]))


class TestGetTotalNorm:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_agrees_with_torch(self, norm_type, foreach):
        """And with clip_grad_norm_, whose first half it is; it changes nothing."""
        parameters = two_layers()
        grads = [parameter.grad for parameter in parameters]
        norm = get_total_norm(grads, norm_type, foreach=foreach)
        torch.testing.assert_close(norm, nn.utils.get_total_norm(grads, float(norm_type)))
        assert torch.equal(norm, clip_grad_norm_(parameters, math.inf, norm_type))

    def test_measures_what_cannot_be_written(self):
        """Expanded memory has a norm, though it cannot be clipped in place."""
        assert get_total_norm([torch.full((1,), 3.0).expand(4)]) == 6.0

    def test_measures_tensors_that_overlap(self):
        """Each as a whole: reading does no harm."""
        memory = torch.full((5,), 2.0)
        assert get_total_norm([memory[:4], memory[1:]]) == math.sqrt(32)

    def test_an_exhausted_generator_has_norm_zero(self):
        """Without a word about clipping, as in torch."""
        assert get_total_norm(tensor for tensor in []) == 0.0

    @pytest.mark.parametrize("value", [math.inf, math.nan])
    def test_error_if_nonfinite(self, value):
        """With the error text of torch."""
        with pytest.raises(RuntimeError, match=r"The total norm of order 2.0 for gradients"):
            get_total_norm([torch.tensor([value])], error_if_nonfinite=True)

    def test_no_tensors_have_norm_zero(self):
        """The norm of an empty list is 0, as in torch."""
        assert get_total_norm([]) == 0.0


class TestClipGradsWithNorm:
    @pytest.mark.parametrize("foreach", FOREACH)
    def test_is_the_second_half_of_clip_grad_norm(self, foreach):
        """Measuring, then scaling with what was measured, is clip_grad_norm_."""
        halves, whole = two_layers(), two_layers()
        norm = get_total_norm([parameter.grad for parameter in halves])
        clip_grads_with_norm_(halves, 1.0, norm, foreach=foreach)
        clip_grad_norm_(whole, 1.0)
        for half, both in zip(halves, whole, strict=True):
            torch.testing.assert_close(half.grad, both.grad)

    def test_scales_by_the_given_norm(self):
        """Not by the gradients' own."""
        parameters = with_grads(torch.tensor([3.0, 4.0]))
        clip_grads_with_norm_(parameters, 1.0, torch.tensor(10.0))
        torch.testing.assert_close(parameters[0].grad, torch.tensor([0.3, 0.4]))

    def test_an_infinite_bound_changes_nothing(self):
        """Not even by an infinite norm, whose quotient would be NaN."""
        parameters = with_grads(torch.tensor([3.0, 4.0]))
        clip_grads_with_norm_(parameters, math.inf, torch.tensor(math.inf))
        assert torch.equal(parameters[0].grad, torch.tensor([3.0, 4.0]))

    def test_without_gradients_it_does_nothing(self):
        """A parameter that has no gradient keeps its value and gets none, as in torch."""
        parameter = nn.Parameter(torch.ones(2))
        clip_grads_with_norm_([parameter], 1.0, torch.tensor(1.0))
        assert parameter.grad is None
        assert torch.equal(parameter, torch.ones(2))


@pytest.mark.parametrize("wrong", [True, "x", None, [1.0], torch.ones(2), np.ones(2)])
class TestArguments:
    """What is no number is refused by name and value, before anything is changed."""

    @pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
    def test_bounds(self, wrong, clip):
        """The two that measure or clamp."""
        parameters = with_grads(torch.tensor([3.0, 4.0]))
        with pytest.raises(TypeError, match=r"(max_norm|clip_value) must be a number >= 0, got .*(True|1|x|None)"):
            clip(parameters, wrong)
        assert torch.equal(parameters[0].grad, torch.tensor([3.0, 4.0]))

    def test_the_bound_of_a_known_norm(self, wrong):
        """`clip_grads_with_norm_` refuses a wrong bound too, and scales nothing."""
        parameters = with_grads(torch.ones(2))
        with pytest.raises(TypeError, match=r"max_norm must be a number >= 0, got"):
            clip_grads_with_norm_(parameters, wrong, torch.tensor(1.0))
        assert torch.equal(parameters[0].grad, torch.ones(2))

    def test_norm_types(self, wrong):
        """Text is for torch's 'inf'."""
        with pytest.raises(TypeError, match=r"norm_type must be a number or 'inf', got"):
            get_total_norm([torch.ones(2)], wrong)


@pytest.mark.parametrize("number", [np.float32(5), np.array(5), torch.tensor(5.0), decimal.Decimal(5)])
def test_whatever_torch_takes_as_a_number_is_one(number):
    """Scalars of numpy, torch and decimal will do as the bound and as the norm's type."""
    parameters = with_grads(torch.tensor([30.0, 40.0]))
    clip_grad_norm_(parameters, number, norm_type=number)
    torch.testing.assert_close(get_total_norm([parameters[0].grad], 5.0), torch.tensor(5.0))


def test_plain_names_are_the_same_functions():
    """The three requested capabilities under the plainest names."""
    assert clipcore.clip_grad_norm is clip_grad_norm_
    assert clipcore.clip_grad_value is clip_grad_value_
    parameters = with_grads(torch.tensor([30.0, 40.0]))
    assert clipcore.gradient_clipping(parameters, max_l2_norm=5.0) == 50.0
    torch.testing.assert_close(parameters[0].grad, torch.tensor([3.0, 4.0]))


@pytest.mark.parametrize("parameters", [[None], [nn.Parameter(torch.ones(1)), "a"], [[]]])
@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
def test_what_is_no_tensor_is_named(clip, parameters):
    """With the argument that holds it."""
    with pytest.raises(TypeError, match=r"parameters must be tensors, got (None|'a'|\[\])"):
        clip(parameters, 1.0)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([torch.ones(1), "a"], "tensors must be tensors, got 'a'"),
        ([torch.ones(1), torch.ones(1, dtype=torch.int64)], "tensor number 1 is torch.int64"),
        ([torch.eye(2).to_mkldnn()], "tensor number 0 has layout torch._mkldnn"),
    ],
)
def test_what_cannot_be_measured_is_named(tensors, sentence):
    """It need not be anybody's gradient."""
    with pytest.raises(TypeError, match=sentence):
        get_total_norm(tensors)


def test_a_known_norm_is_a_tensor():
    """As torch asks for too."""
    with pytest.raises(TypeError, match=r"total_norm must be a 0-d tensor, got 5\.0"):
        clip_grads_with_norm_([nn.Parameter(torch.ones(1))], 1.0, 5.0)


def test_an_integer_beyond_all_floats_bounds_nothing():
    """10**400 counts as infinity, and -10**400 is negative."""
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip_grad_norm_([parameter], 10**400) == 5
    assert parameter.grad.tolist() == [3.0, 4.0]
    with pytest.raises(ValueError, match="max_norm must be >= 0"):
        clip_grad_norm_([parameter], -(10**400))
