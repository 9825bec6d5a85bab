"""The node tests of ONNX, a suite that others wrote: each one passes, or stands in a list of what is not offered."""

import warnings
from functools import cache

import numpy as np
import pytest
from onnx_adapters import ADAPTERS, NotOffered

onnx = pytest.importorskip("onnx")

SUITES = ("node", "pytorch-converted", "pytorch-operator")

# Reasons, and the tests that are refused for them.
NOT_OFFERED = {
    "integers": ("test_maxpool_2d_uint8",),
    "positions counted down the columns": ("test_maxpool_with_argmax_2d_precomputed_strides",),
    "padding beyond half of the window": (
        "test_maxpool_2d_pads",
        "test_averagepool_2d_pads",
        "test_averagepool_2d_pads_count_include_pad",
    ),
    "averages with dilation": (
        "test_averagepool_2d_dilations",
        "test_averagepool_3d_dilations_small",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
    ),
    "norms with dilation": ("test_lppool_2d_dilations",),
    "cubic interpolation": (
        "test_resize_upsample_scales_cubic",
        "test_resize_upsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_cubic",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_upsample_sizes_cubic",
        "test_resize_downsample_sizes_cubic",
        "test_resize_upsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_downsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_upsample_scales_cubic_asymmetric",
        "test_resize_downsample_scales_cubic_antialias",
        "test_resize_downsample_sizes_cubic_antialias",
    ),
    "antialiasing": ("test_resize_downsample_scales_linear_antialias", "test_resize_downsample_sizes_linear_antialias"),
    "cropping": (
        "test_resize_tf_crop_and_resize",
        "test_resize_tf_crop_and_resize_extrapolation_value",
        "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2",
    ),
    "sizes from an aspect ratio": (
        "test_resize_upsample_sizes_nearest_not_larger",
        "test_resize_upsample_sizes_nearest_not_smaller",
        "test_resize_downsample_sizes_nearest_not_larger",
        "test_resize_downsample_sizes_nearest_not_smaller",
    ),
    "another rule for the nearest neighbour": (
        "test_resize_downsample_scales_nearest",
        "test_resize_upsample_sizes_nearest",
        "test_resize_downsample_sizes_nearest",
        "test_resize_upsample_sizes_nearest_floor_align_corners",
        "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
        "test_resize_upsample_sizes_nearest_ceil_half_pixel",
        "test_resize_upsample_sizes_nearest_axes_2_3",
        "test_resize_upsample_sizes_nearest_axes_3_2",
    ),
    "pixels laid out symmetrically": (
        "test_resize_downsample_scales_linear_half_pixel_symmetric",
        "test_resize_upsample_scales_linear_half_pixel_symmetric",
    ),
    "a single pixel from a corner, which PyTorch takes from the middle": (
        "test_resize_downsample_sizes_linear_pytorch_half_pixel",
    ),
    "aligned corners of a fraction of a pixel": ("test_resize_downsample_scales_linear_align_corners",),
    "images of three axes": ("test_col2im_5d",),
    "the numbers of another generator": (
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout",
        "test_training_dropout_mask",
    ),
    "another slope than 1/6": ("test_hardsigmoid_example", "test_hardsigmoid", "test_hardsigmoid_default"),
    "a matrix to add": ("test_gemm_default_matrix_bias",),
}


@cache
def suite():
    """Tests of one node each, by operator: (name, attributes, inputs, expected outputs, tolerances)."""
    from onnx.backend.test.loader import load_model_tests

    tests = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their NumPy overflows on purpose
        cases = [case for kind in SUITES for case in load_model_tests(kind=kind)]
    for case in cases:
        model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
        if len(model.graph.node) == 1 and model.graph.node[0].op_type in ADAPTERS:
            tests.setdefault(model.graph.node[0].op_type, []).append((case, model))
    return tests


def attributes_of(node):
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def data_of(case, model):
    """Inputs in the order of the node, None where one is left out, and the expected outputs."""
    if case.data_sets:
        given, expected = case.data_sets[0]
    else:
        folder = f"{case.model_dir}/test_data_set_0"
        given, expected = (
            [read(f"{folder}/{kind}_{k}.pb") for k in range(len(values))]
            for kind, values in (("input", free_inputs(model)), ("output", model.graph.output))
        )
    named = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    named |= dict(zip((value.name for value in free_inputs(model)), given, strict=False))
    return [named.get(name) for name in model.graph.node[0].input], expected


def free_inputs(model):
    fixed = {t.name for t in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in fixed]


def read(path):
    tensor = onnx.TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return onnx.numpy_helper.to_array(tensor)


def outcome(operator, case, model):
    """None where the results agree, the reason of a refusal, or what went wrong."""
    inputs, expected = data_of(case, model)
    try:
        found = ADAPTERS[operator](attributes_of(model.graph.node[0]), *inputs)
    except NotOffered as refusal:
        return str(refusal)
    found = found if isinstance(found, tuple) else (found,)
    for mine, theirs in zip(found, expected, strict=False):
        np.testing.assert_allclose(mine, theirs, rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=case.name)
        assert np.asarray(mine).dtype == theirs.dtype, case.name
    return None


@pytest.mark.parametrize("operator", ADAPTERS)
def test_nodes(operator):
    tests = suite()[operator]
    refused = {}
    for case, model in tests:
        reason = outcome(operator, case, model)
        if reason:
            refused[case.name] = reason
    names = {case.name for case, _ in tests}
    assert refused == {name: reason for reason, listed in NOT_OFFERED.items() for name in listed if name in names}


def test_the_list_names_real_tests():
    names = {case.name for tests in suite().values() for case, _ in tests}
    assert not {name for listed in NOT_OFFERED.values() for name in listed} - names
