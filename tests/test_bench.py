"""The comparison with peers: its rows, its judgement, its figures, and one small run of it."""

import json
import re
import time
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner

from fastconv import ops
from fastconv.bench import contenders, plot, record, rounds, session, summary, table, truth, worker
from fastconv.bench.contenders import CONTENDERS, PEERS, US, Entry
from fastconv.bench.layers_file import read_layers
from fastconv.bench.rounds import Player, Result, Unable
from fastconv.bench.rows import (
    KINDS,
    ONE_ARRAY,
    NormCase,
    Row,
    conv_rows,
    fixed_rows,
    kind_of,
    operands,
    transpose_rows,
)
from fastconv.bench.session import Session
from fastconv.bench.shapes import FAMILIES, MOST_ELEMENTS, sample
from fastconv.cli import main
from fastconv.testing import CASES, CONV_CASES, POOL_CASES, ConvCase, PoolCase

MATPLOTLIB = find_spec("matplotlib") is not None
SMALL = [case for case in CONV_CASES if not case.network and case.x[0]]
SMALL_ND = [case for op in ("conv1d", "conv3d") for case in CASES[op] if not case.network and case.x[0]]
SMALL_TRANSPOSED = [case for case in CASES["conv_transpose"] if not case.network and case.x[0]]


def result(times, kind="pointwise", name="row", step="forward"):
    """A result with the given milliseconds."""
    row = Row(name, kind, "conv2d", CONV_CASES[1], (step,))
    return Result(row, step, {contender: [ms / 1e3, ms / 1e2] for contender, ms in times.items()})


# ---- rows


def test_the_same_seed_draws_the_same_layers():
    assert sample(3, 48) == sample(3, 48)
    assert sample(3, 48)[:10] == sample(3, 10)
    assert {case.id for case in sample(3, 48)} != {case.id for case in sample(4, 48)}


@pytest.mark.parametrize("seed", range(20))
def test_drawn_layers_are_legal_and_small_enough(seed):
    cases = sample(seed, 2 * len(FAMILIES))
    assert len({case.id for case in cases}) == len(cases) == 48
    for case in cases:
        geometry = case.geometry  # raises if they are not legal
        assert geometry.macs <= 2e9 and max(map(np.prod, (geometry.x_shape, geometry.y_shape))) <= MOST_ELEMENTS
    assert {kind_of(case) for case in cases} >= KINDS.keys() - {"other", "3D", "dilated"}


def test_layers_of_networks_are_of_the_kind_that_their_name_tells():
    kinds = {row.name: row.kind for row in fixed_rows() if row.work == "conv2d"}
    expected = {
        "lenet_1_batch": "first layers",
        "lenet_2_batch": "other",
        "resnet_stem": "first layers",
        "resnet_56": "3x3 stride 1",
        "resnet_7": "3x3 small",
        "resnet_pointwise_14": "pointwise",
        "resnet_down_56": "strided",
        "mobilenet_56": "depthwise",
        "resnext_56": "grouped",
        "large_kernel_22": "5x5/7x7",
        "deeplab_28": "dilated",
    }
    assert expected.items() <= kinds.items()


def test_rows_are_named_once():
    names = [(row.kind, row.name) for row in fixed_rows() + conv_rows(sample(0, 48))]
    assert len(set(names)) == len(names)


# ---- a file of layers

CSV = """name,x,w,stride,padding,dilation,groups,bias
stem, 8x3x224x224, 64x3x7x7, 2, 3, 1, 1, no
mine,1x32x40x60,32x32x1x5,1,0x2,,,yes
"""
MINE = ConvCase("mine", (1, 32, 40, 60), (32, 32, 1, 5), stride=1, padding=(0, 2))


def test_layers_are_read_from_csv_and_json(tmp_path):
    (tmp_path / "layers.csv").write_text(CSV)
    stem, mine = read_layers(tmp_path / "layers.csv")
    assert stem == ConvCase("stem", (8, 3, 224, 224), (64, 3, 7, 7), 2, 3, 1, 1, bias=False)
    assert mine == MINE
    entries = [{"name": "mine", "x": [1, 32, 40, 60], "w": [32, 32, 1, 5], "padding": [0, 2]}]
    (tmp_path / "layers.json").write_text(json.dumps(entries))
    assert read_layers(tmp_path / "layers.json") == [MINE]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "name,x,w\na,1x2x8x8\n", "a.csv, line 2: must have 3 fields"),
        ("a.csv", "name,x,w\na,1x2x8x8,3x2x3x3,4\n", "a.csv, line 2: must have 3 fields"),
        ("a.csv", "name,x\na,1x2x8x8\n", "a.csv, line 2: w is missing"),
        ("a.csv", "name,x,w,colour\na,1x2x8x8,3x2x3x3,red\n", "line 2: there is no field 'colour'"),
        ("a.csv", "name,x,w\na,1x2x8,3x2x3x3\n", "line 2: x: must be four sizes, as in 8x64x56x56, got [1, 2, 8]"),
        ("a.csv", "name,x,w\na,1x2x8x8,3x2x3xQ\n", "line 2: w: must be four sizes"),
        ("a.csv", "name,x,w\na,1x2x8x8,3x3x3x3\n", "line 2: a: "),
        ("a.csv", "name,x,w,stride\na,1x2x8x8,3x2x3x3,0\n", "stride must be >= 1"),
        ("a.csv", "name,x,w,bias\na,1x2x8x8,3x2x3x3,perhaps\n", "bias: must be yes or no, got 'perhaps'"),
        ("a.csv", "name,x,w\na,1x2x8x8,3x2x3x3\na,1x2x8x8,3x2x3x3\n", "line 3: name: 'a' is there twice"),
        ("a.csv", "name,x,w\n[b],1x2x8x8,3x2x3x3\n", "name: must be up to 60 letters"),
        ("a.csv", "name,x,w\na,9x9x99999x99999,9x9x1x1\n", "arrays may have 268,435,456 elements"),
        ("a.csv", "name,x,w\n", "there are no layers in it"),
        ("a.csv", "", "there are no layers in it"),
        ("a.csv", b"\xff\xfe\x00", "is no CSV file"),
        ("a.json", "[{]", "is no JSON file"),
        ("a.json", "{}", "must hold a list of layers, got dict"),
        ("a.json", "[3]", "layer 1: must be an object, got 3"),
        ("a.json", '[{"name": 1, "x": [1, 2, 8, 8], "w": [3, 2, 3, 3]}]', "layer 1: name: "),
        ("a.json", '[{"name": "a", "x": [1, 2, 8, true], "w": [3, 2, 3, 3]}]', "layer 1: x: must be four sizes"),
    ],
)
def test_a_bad_file_of_layers_is_answered_in_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=re.escape(message)):
        read_layers(path)
    answer = CliRunner().invoke(main, ["bench", "peers", "--layers", str(path)])
    assert answer.exit_code == 2 and answer.stderr.count("\n") == 1 and message in answer.stderr


# ---- the truth


@pytest.mark.parametrize("case", SMALL + SMALL_ND + SMALL_TRANSPOSED, ids=lambda case: f"{case.op}-{case.id}")
def test_truth_of_convolution_is_what_fastconv_gives_in_float64(case):
    (row,) = (transpose_rows if case in SMALL_TRANSPOSED else conv_rows)([case])
    x, w, b, dy = (None if a is None else a.astype(np.float64) for a in operands(row))
    convolve, convolve_backward = getattr(ops, case.op), getattr(ops, f"{case.op}_backward")
    dx, dw, db = convolve_backward(dy, x, w, b, **case.options)
    expected = truth.TRUTH[row.work](row)
    y = convolve(x, w, b, **case.options)
    found = {"forward": [y], "prepacked": [y], "dx": [dx], "dw": [dw] if b is None else [dw, db]}
    assert all(truth.error(found[step], expected[step]) < 1e-13 for step in row.passes)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    "case", [c for c in POOL_CASES if not (c.network or c.ceil_mode) and c.x[0]], ids=lambda case: case.id
)
def test_truth_of_pooling_is_what_fastconv_gives_in_float64(case, name):
    if name == "avg_pool2d":
        case = PoolCase(case.id, case.x, case.kernel_size, case.stride, case.padding)
    options = case.options if name == "max_pool2d" else case.average_options
    row = Row(case.id, "pooling", name, case, ("forward", "dx"))
    x, dy = (a.astype(np.float64) for a in operands(row))
    expected = truth.TRUTH[name](row)
    assert truth.error([getattr(ops, name)(x, **options)], expected["forward"]) < 1e-13
    assert truth.error([getattr(ops, f"{name}_backward")(dy, x, **options)], expected["dx"]) < 1e-13


SMALL_RESIZES = [
    case
    for case in CASES["windows"] + CASES["resample"]
    if case.op in ONE_ARRAY and not case.network and case.x[0] and not case.options.get("ceil_mode")
]


@pytest.mark.parametrize("case", SMALL_RESIZES, ids=lambda case: f"{case.op}-{case.id}")
def test_truth_of_operations_on_one_array_is_what_fastconv_gives_in_float64(case):
    row = Row(case.id, ONE_ARRAY[case.op], "one_array", case, ("forward", "dx"))
    x, dy = (array.astype(np.float64) for array in operands(row))
    expected = truth.TRUTH["one_array"](row)
    assert truth.error([getattr(ops, case.op)(x, **case.options)], expected["forward"]) < 1e-13
    dx = getattr(ops, f"{case.op}_backward")(dy, x, **case.options)
    assert truth.error([dx], expected["dx"]) < 1e-12


@pytest.mark.parametrize("residual", [False, True])
def test_truth_of_batch_norm_is_what_fastconv_gives_in_float64(residual):
    row = Row("norm", "norm + ReLU", "batch_norm", NormCase("norm", (3, 5, 4, 6), residual), ("forward", "dx"))
    x, weight, bias, addend, dy = (None if a is None else a.astype(np.float64) for a in operands(row))
    options = {"training": True, "residual": addend, "relu": True}
    expected = truth.TRUTH["batch_norm"](row)
    assert truth.error([ops.batch_norm(x, None, None, weight, bias, **options)], expected["forward"]) < 1e-13
    gradients = ops.batch_norm_backward(dy, x, None, None, weight, bias, **options)
    assert truth.error([array for array in gradients if array is not None], expected["dx"]) < 1e-12


def test_wrong_results_are_noticed():
    row, right = conv_rows([SMALL[1]])[0], [np.ones((2, 3))]
    almost, wrong, nothing = (np.ones((2, 3)) + np.array([0, 0, e]) for e in (1e-6, 1e-3, np.nan))
    assert truth.is_right(row, truth.error([almost], right))
    assert not truth.is_right(row, truth.error([wrong], right))
    assert not truth.is_right(row, truth.error([nothing], right))
    assert not truth.is_right(row, truth.error([np.ones((3, 2))], right))
    assert not truth.is_right(row, truth.error([], right))


# ---- contenders


@pytest.mark.parametrize("name", [name for name in CONTENDERS if not name.startswith("torch")])
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
def test_contenders_are_right_or_decline(name, case):
    if CONTENDERS[name].missing():
        pytest.skip("not installed")
    row = conv_rows([case])[0]
    try:
        contender = CONTENDERS[name].open(1)
        runs = contender.prepare(row)
    except contenders.Declined as reason:
        assert name == "scipy" and str(reason) == "dilation"
        return
    expected = truth.TRUTH["conv2d"](row)
    assert "forward" in runs
    assert all(truth.is_right(row, truth.error(contender.arrays(runs[step]()), expected[step])) for step in runs)


def test_a_turn_has_enough_runs(monkeypatch):
    monkeypatch.setattr(worker, "TURN_SECONDS", 0)
    bench, calls = worker.Bench(CONTENDERS[US].open(1), 1), []
    bench._runs = {"forward": lambda: calls.append(time.perf_counter())}
    assert len(bench.turn("forward", 4)) == 4
    assert len(calls) == 5  # one run is not timed


# ---- figures


def test_geometric_mean():
    assert summary.geometric_mean([2, 0.5]) == pytest.approx(1)
    assert summary.geometric_mean([1, 2, 4]) == pytest.approx(2)
    assert np.isnan(summary.geometric_mean([]))


def test_the_best_peer_is_the_fastest_of_the_row():
    found = result({US: 2, "torch": 3, "ncnn": 1, "torch-channels-last": 2.5})
    assert summary.fastest(found, summary.BEST) == "ncnn"
    assert summary.ratio(found, summary.BEST) == pytest.approx(0.5)
    assert summary.ratio(found, summary.LAYOUT) == pytest.approx(1.25)
    assert summary.ratio(found, "torch") == pytest.approx(1.5)
    assert summary.ratio(found, "scipy") is None
    alone = result({US: 2})
    assert summary.fastest(alone, summary.BEST) is None and summary.ratio(alone, summary.BEST) is None


def test_summary_has_means_and_the_worst_row():
    found = [
        result({US: 1, "torch": 2, "ncnn": 4}, name="a"),
        result({US: 1, "torch": 8, "ncnn": 0.5}, name="b"),
        result({US: 1, "torch": 3}, name="c", step="dx"),
        result({"torch": 3}, kind="norm"),
    ]
    lines = {(line.kind, line.step, line.peer): line for line in summary.summarise(found, ["torch", "ncnn"])}
    best = lines["pointwise", "forward", summary.BEST]
    assert (best.rows, best.lost, best.worst_row) == (2, 1, "b")
    assert (best.mean, best.worst) == (pytest.approx(1), pytest.approx(0.5))
    assert lines["pointwise", "forward", "torch"].mean == pytest.approx(4)
    assert lines["pointwise", "dx", "torch"].rows == 1 and ("pointwise", "dx", "ncnn") not in lines
    assert not [key for key in lines if key[0] == "norm"]


def test_losses_and_mistakes_are_shown(capsys):
    lost, wrong = result({US: 2, "torch": 1}, name="lost"), result({US: 2}, name="bad")
    wrong.refused["torch"] = "wrong: error 2.0e-01"
    for show in (table.print_results, table.print_summary):
        show(table.open_console(), [lost, wrong], ["torch"])
    table.print_refused(table.open_console(), [lost, wrong])
    text = capsys.readouterr().out
    assert re.search(r"pointwise +\| lost +\| forward +\| +2 \| 1 \(0\.50\) \| \(0\.50\) torch \|", text)
    assert re.search(r"pointwise +\| bad +\| forward +\| +2 \| +wrong \| - +\|", text)
    assert "torch is not in bad forward: wrong: error 2.0e-01" in text


# ---- processes


def test_a_process_that_dies_costs_one_row():
    player = Player("no such contender", 1)
    with pytest.raises(Unable, match="failed: KeyError"):
        player.ask("about")
    player._process.kill()
    with pytest.raises(Unable, match="its process ended with exit code"):
        player.ask("about")
    with pytest.raises(Unable, match="failed: KeyError"):  # a new one
        player.ask("about")
    player.close()


def test_threads_need_cores():
    with pytest.raises(ValueError, match="4096 threads need as many cores"):
        rounds.cores(4096)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "toch"], "there is no peer 'toch'; did you mean torch?"),
        (["--work", "("], "'(' is not a regular expression"),
        (["--work", "no such row"], "no row matches 'no such row'"),
        (["--threads", "4096"], "threads need as many cores"),
        (["--rounds", "0"], "0 is not between 1"),
        (["--layers", "no such file.csv"], "no such file.csv: No such file or directory"),
        (["--json", "no such folder/a.json"], "no such folder/a.json: No such file or directory"),
    ],
)
def test_mistakes_are_answered_in_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, ["bench", "peers", *words])
    assert answer.exit_code == 2 and answer.stderr.count("\n") == 1 and message in answer.stderr


@pytest.mark.slow
def test_a_small_comparison(tmp_path, monkeypatch, capsys):
    """fastconv, PyTorch where it is installed, and a peer that is not."""
    monkeypatch.setitem(PEERS, "absent", Entry("ours", "Fastconv", needs=("no_such_module",)))
    monkeypatch.setitem(CONTENDERS, "absent", PEERS["absent"])
    layers, out, picture = (tmp_path / name for name in ("layers.csv", "out.json", "out.png"))
    layers.write_text("name,x,w,padding\nsquare,2x5x9x8,7x5x3x3,1\ndot,1x3x4x5,2x3x1x1,0\n")
    opened = Session(["torch", "absent"], 1, out, picture if MATPLOTLIB else None, rounds=2, layers=layers)
    assert opened.run() == 0
    text = capsys.readouterr().out
    assert "absent is left out: there is no no_such_module" in text
    document = json.loads(out.read_text())
    assert [(r["row"], r["pass"]) for r in document["rows"]] == [
        (name, step) for name in ("dot", "square") for step in ("forward", "prepacked", "dx", "dw")
    ]
    assert document["clock"] == "CPU time" and document["host"]["cpu"] and "absent" in document["skipped"]
    for entry in document["rows"]:
        assert set(entry["runs"]) == set(document["contenders"]) >= {US}
        assert all(len(runs) >= 7 and min(runs) > 0 for runs in entry["runs"].values())
        assert all(error < 1e-6 for error in entry["errors"].values())
    if "torch" in document["contenders"]:
        assert len(document["summary"]) == 16  # two rows, four passes, torch and the best peer
        assert not MATPLOTLIB or picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not MATPLOTLIB, reason="draws with Matplotlib")
def test_nothing_to_compare_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "measure", lambda row, *_: iter([result({US: 1}, row.kind, row.name)]))
    monkeypatch.setattr(Player, "ask", lambda *_: {"version": "1", "form": "as it is"})
    opened = Session([], 1, None, tmp_path / "out.png", work=re.compile("lenet_1_batch/forward"))
    assert opened.run() == 0
    assert "out.png is not drawn" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_an_interrupted_comparison_shows_what_it_has(tmp_path, monkeypatch, capsys):
    def measure(row, *_):
        if row.name != "lenet_1_batch":
            raise KeyboardInterrupt
        yield result({US: 1, "torch": 2}, row.kind, row.name)

    monkeypatch.setattr(session, "measure", measure)
    monkeypatch.setattr(Player, "ask", lambda *_: {"version": "1", "form": "as it is"})
    picture = tmp_path / "out.png" if MATPLOTLIB else None
    opened = Session(["torch"], 1, tmp_path / "out.json", picture, work=re.compile("lenet_._batch/forward"))
    assert opened.run() == session.INTERRUPTED
    assert "(2.00) torch" in (text := capsys.readouterr().out) and "stopped: 1 passes of 2" in text
    assert json.loads((tmp_path / "out.json").read_text())["rows"][0]["ratio"] == pytest.approx(2)


def test_record_has_no_nan(tmp_path):
    found = result({US: 1})
    found.errors["torch"] = float("nan")
    record.write_json(tmp_path / "out.json", {}, [found], ["torch"])
    (entry,) = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)["rows"]
    assert entry["errors"] == {"torch": "nan"}


@pytest.mark.skipif(not MATPLOTLIB, reason="draws with Matplotlib")
def test_picture_is_drawn(tmp_path):
    found = [result({US: 1, "torch": ms}, name=f"row {ms}") for ms in (0.2, 1, 40)] + [result({"torch": 1})]
    plot.draw(tmp_path / "out.png", found, "title")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
