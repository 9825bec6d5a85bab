"""Which plan is chosen, and how ``fastconv explain`` tells why."""

import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fastconv import runtime
from fastconv.bench import explain
from fastconv.bench.explain import Roofline, nbytes
from fastconv.cli import main
from fastconv.cpu import choose
from fastconv.geometry import ConvGeometry
from fastconv.testing import CASES, exact_integers, random_geometry

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

# Forward, input gradient, weight gradient, in float32 with AVX-512.
CHOICES = {
    "deeplab_28": ("direct", "direct", "direct"),
    "deeplab_aspp_33": ("direct", "direct", "direct"),
    "context_64": ("direct", "direct", "direct"),
    "one_number": ("pointwise", "pointwise", "pixels"),
    "pointwise": ("pointwise", "pointwise", "direct"),
    "no_bias": ("pixels", "pixels", "pixels"),
    "empty_batch": ("pixels", "pixels", "pixels"),
    "single_output": ("pixels", "pixels", "direct"),
    "row_kernel": ("pixels", "pixels", "pixels"),
    "column_kernel": ("pixels", "pixels", "pixels"),
    "even_kernel_same": ("pixels", "pixels", "pixels"),
    "strided_same": ("pixels", "pixels", "pixels"),
    "stride_skips_input": ("direct", "direct", "direct"),
    "stride_two": ("direct", "direct", "direct"),
    "pointwise_strided": ("pointwise", "pointwise", "direct"),
    "dilated": ("pixels", "pixels", "pixels"),
    "dilated_strided": ("direct", "direct", "direct"),
    "padding_pairs": ("pixels", "pixels", "pixels"),
    "padding_exceeds_kernel": ("pixels", "pixels", "pixels"),
    "kernel_exceeds_input": ("pixels", "pixels", "pixels"),
    "two_groups": ("pixels", "pixels", "pixels"),
    "depthwise": ("depthwise", "depthwise", "depthwise"),
    "depth_multiplier": ("depthwise", "depthwise", "depthwise"),
    "wide_groups": ("direct", "direct", "direct"),
    "many_channels": ("direct", "direct", "direct"),
    "long_rows": ("pixels", "pixels", "pixels"),
    "lenet_1": ("depthwise", "depthwise", "depthwise"),
    "lenet_2": ("direct", "pixels", "direct"),
    "lenet_1_batch": ("depthwise", "depthwise", "depthwise"),
    "lenet_2_batch": ("direct", "pixels", "direct"),
    "resnet_stem": ("direct", "pixels", "direct"),
    "resnet_56": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
    "resnet_28": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
    "resnet_14": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
    "resnet_7": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
    "resnet_pointwise_56": ("pointwise", "pointwise", "direct"),
    "resnet_pointwise_14": ("pointwise", "pointwise", "direct"),
    "resnet_down_56": ("direct", "direct", "direct"),
    "vgg_224": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
    "mobilenet_down_112": ("depthwise", "depthwise", "depthwise"),
    "mobilenet_56": ("depthwise", "depthwise", "depthwise"),
    "resnext_56": ("pixels", "pixels", "pixels"),
    "large_kernel_22": ("fft 14x14", "fft 22x22", "fft 14x14"),
    "long_signal": ("fft 1x48", "fft 1x48", "fft 1x48"),
    "cifar_8": ("winograd 4x4", "winograd 4x4", "winograd 4x4"),
}


def choices(geometry, dtype=FLOAT32, algorithm="auto"):
    return tuple(choose.chosen(choose.candidates(kind, geometry, dtype), algorithm).name for kind in choose.PASSES)


def geometry(x, w, padding=1, **options):
    return ConvGeometry.make("t", x, w, None, padding=padding, **options)


# ---- the choice


@pytest.fixture
def avx512(monkeypatch):
    """Choose as if for AVX-512."""
    monkeypatch.setattr(choose, "VECTOR_BYTES", 64)
    monkeypatch.setattr(runtime, "registers", lambda: 32)


@pytest.mark.parametrize("case", CASES["conv2d"], ids=lambda case: case.id)
@pytest.mark.usefixtures("avx512")
def test_choices_are_those_that_were_measured(case):
    assert choices(case.geometry) == CHOICES[case.id]


@pytest.mark.usefixtures("avx512")
def test_few_tiles_take_the_small_tile():
    assert choices(geometry((1, 128, 8, 8), (128, 128, 3, 3), 0))[0] == "winograd 2x2"


@pytest.mark.parametrize("seed", range(100))
def test_rules_leave_one_direct_sum(seed):
    """So that the model of costs has two sides, and a choice whatever the geometry."""
    drawn = random_geometry(np.random.default_rng(seed)).geometry
    for kind in choose.PASSES:
        for dtype in (FLOAT32, FLOAT64):
            ways = choose.candidates(kind, drawn, dtype)
            (front,) = (way for way in ways if way.algorithm == "direct" and not way.behind)
            assert not front.why_not and front.rule
            assert choose.chosen(ways, "direct") is front
            assert len({way.name for way in ways}) == len(ways)


@pytest.mark.parametrize("batch", [0, 1, 3, 64])
def test_an_image_has_the_same_choice_in_every_batch(batch):
    for channels, size in ((16, 4), (24, 7), (64, 8), (96, 14), (512, 7)):
        one, many = (geometry((n, channels, size, size), (channels, channels, 3, 3)) for n in (1, batch))
        assert choices(one)[:2] == choices(many)[:2]


def test_who_asks_for_an_algorithm_gets_it_where_it_can():
    wide, deep = geometry((2, 4, 8, 8), (4, 4, 3, 3)), geometry((8, 64, 56, 56), (64, 64, 3, 3))
    assert all(name.startswith("winograd") for name in choices(wide, FLOAT64, "winograd"))
    assert not any(name.startswith("winograd") for name in choices(deep, FLOAT32, "direct") + choices(deep, FLOAT64))
    assert choices(replace(deep, batch=0), FLOAT32, "winograd")[2] == "direct"


def test_predictions_grow_with_the_work():
    def milliseconds(n, groups, dtype=FLOAT32):
        ways = choose.candidates(
            "forward", geometry((n, 64 * groups, 9, 9), (64 * groups, 64, 3, 3), groups=groups), dtype
        )
        return np.array([way.milliseconds for way in ways if way.milliseconds])

    one = milliseconds(1, 1)
    assert len(one) == 3 and all(one > 0)
    for factor, more in ((5, milliseconds(5, 1)), (3, milliseconds(1, 3)), (2, milliseconds(1, 1, FLOAT64))):
        np.testing.assert_allclose(more, factor * one, rtol=0.2)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 5, 9, 8), (4, 5, 3, 3), {}),
        ((2, 6, 9, 8), (6, 1, 3, 3), {"groups": 6}),
        ((2, 20, 5, 6), (18, 20, 1, 1), {"padding": 0}),
        ((2, 3, 9, 8), (17, 3, 5, 5), {"stride": 2}),
    ],
)
def test_every_candidate_that_can_computes_the_same(x, w, options, dtype, rng):
    """What is listed as able is able: rules may put any of these first."""
    sizes = geometry(x, w, **options)
    x, w, dy = (exact_integers(rng, shape, dtype) for shape in (sizes.x_shape, sizes.w_shape, sizes.y_shape))
    for kind, inputs, result in (
        ("forward", (x, w), dy),
        ("backward_data", (dy, w), x),
        ("backward_weight", (x, dy), w),
    ):
        ways = [way for way in choose.candidates(kind, sizes, dtype) if not way.why_not]
        results = []
        for way in ways:
            y = np.full_like(result, np.nan)
            if kind == "backward_weight":
                way.plan(sizes, dtype)(*inputs, y, np.empty(sizes.out_channels, dtype))
            else:
                way.plan(sizes, dtype, False)(*inputs, None, y)
            results.append(y)
        for y in results[1:]:
            np.testing.assert_allclose(y, results[0], atol=1e-5 * np.abs(results[0]).max())


# ---- what explains it


def test_each_pass_has_its_choice_first_and_reasons():
    passes = explain.explain(geometry((8, 64, 56, 56), (64, 64, 3, 3)), FLOAT32, measured=False)
    assert list(passes) == list(choose.PASSES)
    for lines in passes.values():
        assert [line.chosen for line in lines] == [True] + [False] * (len(lines) - 1)
        assert lines[0].way.name == "winograd 4x4" and lines[0].reason == "predicted fastest"
        assert all(line.reason and line.seconds is None for line in lines)
    assert "it needs a kernel of one tap" in next(x.reason for x in passes["forward"] if x.way.name == "pointwise")


def test_reasons_name_the_rule():
    passes = explain.explain(geometry((8, 32, 30, 30), (32, 1, 5, 5), groups=32), FLOAT32, measured=False)
    reasons = {line.way.name: line.reason for line in passes["forward"]}
    assert reasons["depthwise"] == choose.FEW_CHANNELS
    assert reasons["pixels"] == "a rule prefers depthwise"
    passes = explain.explain(geometry((8, 64, 30, 30), (64, 64, 3, 3)), FLOAT64, measured=False)
    assert {line.reason for line in passes["forward"] if line.way.algorithm == "winograd"} == {
        "float64 is always summed directly"
    }


def test_what_can_compute_a_pass_is_measured(monkeypatch):
    monkeypatch.setattr(explain, "ROUNDS", 1)
    for lines in explain.explain(geometry((2, 4, 8, 8), (4, 4, 3, 3)), FLOAT32, measured=True).values():
        for line in lines:
            assert (line.seconds is None) == (line.way.why_not is not None)
            assert line.seconds is None or 0 < line.seconds < 1


def test_bytes_and_roofline_follow_from_the_sizes(monkeypatch):
    sizes = geometry((2, 3, 8, 8), (5, 3, 3, 3))
    assert nbytes(sizes, FLOAT64) == 8 * (2 * 3 * 64 + 5 * 3 * 9 + 2 * 5 * 64)
    monkeypatch.setattr(explain.peaks, "measure", lambda: {"float32": 1.0, "float64": 0.5, "copy": 2.0})
    roofline = Roofline.measure(sizes, FLOAT64)
    assert roofline.products == pytest.approx(2 * 2 * 5 * 64 * 27 / 0.5e9)
    assert roofline.memory == pytest.approx(nbytes(sizes, FLOAT64) / 2e9)
    assert roofline.seconds == roofline.products


# ---- the command


@pytest.fixture
def run(set_num_threads):
    """Run the command; the number of threads that it sets is undone."""
    return lambda *words: CliRunner().invoke(main, ["explain", "conv2d", *words])


def test_explain_prints_facts_and_a_table(run):
    result = run("--shape", "8,64,56,56", "--weight", "64,64,3,3", "--no-measure")
    assert result.exit_code == 0, result.output
    for text in ("y 8,64,54,54 in float32", "padding 0", "859,963,392 in each pass", "12,541,952 in each pass"):
        assert text in result.output
    rows = [line.split("|") for line in result.output.splitlines() if line.startswith("|")]
    marked = [(row[1].strip(), row[2].strip()) for row in rows if "*" in row[2]]
    assert marked == [(name, "* winograd 4x4") for name in ("forward", "input gradient", "weight gradient")]
    assert "roofline" not in result.output


def test_explain_measures(run, monkeypatch):
    monkeypatch.setattr(explain, "ROUNDS", 1)
    result = run(
        "--shape", "2,4,8,8", "--weight", "6,4,3,3", "--stride", "2,1", "--padding", "same", "--dtype", "float64"
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"roofline +[\d.]+ ms on 1 thread, of a direct sum\n +products +[\d.]+ ms", result.output)
    chosen = [line.split("|") for line in result.output.splitlines() if "| * " in line]
    assert len(chosen) == 3 and all(float(row[4]) > 0 and float(row[5]) > 0 for row in chosen)


MISTAKES = [
    (["--shape", "8,64,56"], "'--shape': '8,64,56' is not 4 whole numbers from 1 up, such as 8,64,56,56"),
    (["--shape", "0,64,56,56"], "--shape"),
    (["--weight", "64,64,3,x"], "--weight"),
    (["--weight", "64,32,3,3"], "got 32 for x of shape (8, 64, 56, 56); x is --shape, w is --weight"),
    (["--weight", "64,64,57,3"], "kernel_size (57, 3)"),
    (["--stride", "0"], "--stride"),
    (["--stride", "1,2,3"], "--stride"),
    (["--padding", "-1"], "--padding"),
    (["--padding", "some"], "'--padding': 'some' is not one or 2 whole numbers from 0 up, such as 1,0, same or valid"),
    (["--padding", "9" * 18], "padding"),
    (["--padding", "99999"], "elements"),
    (["--dilation", "1.5"], "--dilation"),
    (["--groups", "3"], "groups must divide"),
    (["--groups", "0"], "--groups"),
    (["--dtype", "float16"], "--dtype"),
    (["--threads", "100000"], "--threads"),
]


@pytest.mark.parametrize(
    ("words", "answer"), MISTAKES, ids=lambda value: " ".join(value) if type(value) is list else ""
)
def test_mistakes_are_answered_in_one_line(run, words, answer):
    result = run("--shape", "8,64,56,56", "--weight", "64,64,3,3", *words)
    assert result.exit_code == 2 and result.stdout == ""
    assert answer in result.stderr and result.stderr.count("\n") == 1
