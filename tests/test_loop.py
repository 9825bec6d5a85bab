"""The parallel loop and programs: every task once, whatever the threads; kernels that also run as plain Python."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import ops, runtime
from fastconv.cpu import elementwise, gemm, pool, softmax, softmax_planes
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import lanes, load, splat, store
from fastconv.geometry import PoolGeometry

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@kernel(counts="int64", slots="int64")
def count(args, task, slot):
    args.counts[task] = args.counts[task] + 1
    args.slots[task] = slot


@kernel(scratch="real", step="int", wrong="int64", rounds="int")
def use_scratch(args, task, slot):
    """Write the task's number to the worker's scratch memory again and again, and see whether somebody else did."""
    for i in range(args.rounds):
        args.scratch[slot * args.step + i % args.step] = task
        for j in range(min(i, args.step)):
            if args.scratch[slot * args.step + j] != task:
                args.wrong[0] = 1


@kernel(x="real", y="real", factor="scalar", n="int")
def scale(args, task, slot):
    factor = splat(args.x, args.factor)
    for i in range(task * args.n, (task + 1) * args.n, lanes(args.x)):
        store(args.y, i, load(args.x, i) * factor)


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_task_is_done_once(threads, tasks, set_num_threads):
    set_num_threads(threads)
    counts, slots = np.zeros(tasks, np.int64), np.full(tasks, -1)
    program = Program(F32, "counts slots")
    program.add(count, tasks, counts=program.counts, slots=program.slots)
    for calls in range(1, 20):
        program(counts, slots)
        np.testing.assert_array_equal(counts, calls)
        assert slots.min() >= 0 and slots.max() < threads


@pytest.fixture
def flush_denormals():
    """Throw the switch for one test."""
    if not fastconv.set_flush_denormal(True):
        pytest.skip("this processor has no such switch")
    yield
    fastconv.set_flush_denormal(False)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("flush_denormals")
def test_denormal_numbers_are_zeros_where_that_is_asked_for(threads, set_num_threads):
    set_num_threads(threads)
    x, factor = np.full((8, 64), 1e-30, np.float32), np.array(1e-10, np.float32)
    y = np.ones_like(x)
    program = Program(F32, "x y")
    program.add(scale, 8, x=program.x, y=program.y, factor=float(factor), n=64)
    program(x, y)
    assert not y.any()
    assert (x * factor > 0).all()  # NumPy, in the same thread, never sees the switch
    fastconv.set_flush_denormal(False)
    program(x, y)
    np.testing.assert_array_equal(y, x * factor)


def test_switch_for_denormals_takes_a_flag():
    with pytest.raises(TypeError, match="set_flush_denormal: mode must be"):
        fastconv.set_flush_denormal("yes")


def test_workers_have_scratch_memory_of_their_own(set_num_threads):
    set_num_threads(3)
    wrong = np.zeros(1, np.int64)
    program = Program(F64, "wrong")
    scratch, step = program.worker_workspace(50)
    program.add(use_scratch, 30, scratch=scratch, step=step, wrong=program.wrong, rounds=2000)
    program(wrong)
    assert wrong[0] == 0


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_follow_each_other(threads, dtype, set_num_threads):
    set_num_threads(threads)
    tasks, n = 16, 128
    program = Program(dtype, "x y")
    between = program.workspace(tasks * n)
    program.add(scale, tasks, x=program.x, y=between, factor=2.0, n=n)
    program.add(scale, tasks, x=between, y=program.y, factor=0.1, n=n)
    program.add(scale, 0, x=program.x, y=program.y, factor=0.0, n=n)
    x = np.arange(tasks * n, dtype=dtype)
    y = np.zeros_like(x)
    program(x, y)
    np.testing.assert_array_equal(y, x * dtype.type(2) * dtype.type(0.1))


def test_workspaces_are_aligned_and_apart():
    program = Program(F64, "x")
    places = [program.workspace(elements).offset for elements in (1, 100, 8)]
    assert all(place % runtime.ALIGNMENT == 0 for place in places)
    assert places[1] >= places[0] + 8 and places[2] >= places[1] + 800 and program.nbytes >= places[2] + 64


@pytest.mark.parametrize("change", [{"z": 1}, {"n": None}])
def test_arguments_have_to_be_those_of_the_kernel(change):
    program = Program(F32, "x y")
    arguments = {"x": program.x, "y": program.y, "factor": 1.0, "n": 4} | change
    arguments = {name: value for name, value in arguments.items() if value is not None}
    with pytest.raises(TypeError, match=rf"scale.*{next(iter(change))}"):
        program.add(scale, 1, **arguments)


def test_offsets_that_do_not_fit_are_refused():
    program = Program(F32, "x")
    program.table([2**31 - 1, -(2**31)])
    program.table([2**31], np.int64)
    with pytest.raises(OverflowError, match=str(2**31)):
        program.table([0, 2**31])


def test_a_program_without_tasks_does_nothing():
    program = Program(F32, "counts slots")
    program.add(count, 0, counts=program.counts, slots=program.slots)
    program(None, None)


# ---- plain Python ----------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((2, 3, 7, 6))
X[0, 0, 0], X[1, 1, 2:4, 3] = np.nan, -np.inf
PAIRS = PoolGeometry.make("test", X.shape, 2)
OVERLAPPING = PoolGeometry.make("test", X.shape, 3, 2, 1, (1, 2), True)
GAPS = PoolGeometry.make("test", X.shape, (2, 1), (3, 4))
SLIDING = [PoolGeometry.make("test", X.shape, 3, stride, 1) for stride in (1, 2)]
PLANE = PoolGeometry.make("test", X.shape, X.shape[2:])
ROWS = np.random.default_rng(1).integers(-3, 4, (5, 19)).astype(float)


def max_plans(geometry, dtype):
    """Program and array sizes, forward and backward."""
    y, saved = np.zeros(geometry.y_shape, dtype), np.zeros(geometry.y_shape, np.uint8)
    for relu in (True, False):
        forward = pool._max_plan(geometry, dtype, True, relu)
        forward(X.astype(dtype), y, saved)
        yield forward, (X.astype(dtype), np.zeros_like(y), np.zeros_like(saved))
    yield pool._max_backward_plan(geometry, dtype), (np.ones_like(y), saved, np.zeros(X.shape, dtype))
    yield pool._indices_plan(geometry), (saved, np.zeros(geometry.y_shape, np.int64))


def avg_plans(geometry, dtype):
    small = np.zeros(geometry.y_shape, dtype)
    yield pool._avg_plan(geometry, dtype, False, None, False), (X.astype(dtype), small)
    yield pool._avg_plan(geometry, dtype, True, None, True), (small + 1, np.zeros(X.shape, dtype))


def other_plans(dtype):
    x, out, rows = X.astype(dtype), np.zeros(X.shape, dtype), ROWS.astype(dtype)
    for function in elementwise.FUNCTIONS.values():
        yield elementwise._plan(function.forward, x.size, dtype, 0.5), (x, out)
        yield elementwise._plan(function.backward, x.size, dtype, 0.5), (x, x, out)
    weight = np.ones(5, dtype)
    for along_rows, along_planes in softmax.KERNELS.values():
        arrays = [rows] * (len(softmax.row_plan(along_rows, 5, 19, dtype).names) - 1)
        yield softmax.row_plan(along_rows, *rows.shape, dtype), (*arrays, np.zeros_like(rows))
        yield softmax_planes.plane_plan(along_planes, 1, *rows.shape, dtype), (*arrays, np.zeros_like(rows))
    yield gemm.forward_plan(5, 19, 5, dtype, True, True), (rows, rows, weight, np.zeros((5, 5), dtype))
    dy, w, dx, dw, db = rows[:, :3].copy(), rows[:3], np.zeros_like(rows), np.zeros((3, 19), dtype), weight[:3]
    for needs, arrays in (
        ((True, False, False), (dy, None, w, dy, dx, None, None)),
        ((False, True, False), (dy, rows, None, dy, None, dw, None)),
        ((False, False, True), (dy, None, None, dy, None, None, db)),
    ):
        yield gemm._backward_plan(5, 19, 3, dtype, needs, True), arrays


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_kernels_run_as_plain_python(dtype):
    plans = [
        *(plan for geometry in (PAIRS, OVERLAPPING, GAPS, *SLIDING, PLANE) for plan in max_plans(geometry, dtype)),
        *(plan for geometry in (OVERLAPPING, GAPS, *SLIDING, PLANE) for plan in avg_plans(geometry, dtype)),
        *other_plans(dtype),
    ]
    for program, arrays in plans:
        result = max(k for k, array in enumerate(arrays) if array is not None)
        plain = [array if k != result else array.copy() for k, array in enumerate(arrays)]
        program(*arrays)
        with np.errstate(all="ignore"):
            program._call_twins(plain)
        few = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(plain[result], arrays[result], rtol=few, atol=few)
        assert arrays[result].any()


def run_script(script, **environment):
    """Run Python in a process of its own; return what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


SMALL_CALLS = """
    import numpy as np
    from fastconv import ops
    x = (np.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4) % 11 - 5).astype(np.float32)
    y = ops.relu(x)
    pooled, indices = ops.max_pool2d(y, 2, return_indices=True)
    dx = ops.max_pool2d_backward(pooled, y, 2)
    w = (np.arange(7 * 12).reshape(7, 12) % 5 - 2).astype(np.float32)
    z = ops.linear(pooled.reshape(2, 12), w)
    gradients = ops.linear_backward(z, pooled.reshape(2, 12), w)
    print(*(int(np.abs(a).sum() * 16) for a in (y, pooled, indices, dx, z, *gradients[:2])))
"""


def test_ops_run_without_the_compiler():
    assert run_script(SMALL_CALLS, NUMBA_DISABLE_JIT="1") == run_script(SMALL_CALLS)


# ---- threads and processes -------------------------------------------------------------------------------------


def call_from_two_threads():
    """Call ops from two Python threads at a time; return how many results were wrong."""
    x = np.random.default_rng(0).standard_normal((64, 64, 32)).astype(np.float32)
    expected, wrong = ops.softmax(x), []

    def call():
        for _ in range(30):
            if not np.array_equal(ops.softmax(x), expected):
                wrong.append(1)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return len(wrong)


def test_two_python_threads_call_at_once(set_num_threads):
    set_num_threads(2)
    assert call_from_two_threads() == 0


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_python_threads_on_other_layers(layer):
    """Numba's own workqueue ends the process when two threads enter it at once."""
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from fastconv import runtime
        runtime.set_num_threads(2)
        import test_loop
        print(test_loop.call_from_two_threads(), runtime.host()["threading_layer"])
    """
    assert run_script(script, NUMBA_THREADING_LAYER=layer) == ["0", layer]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.parametrize("layer", ["default", "omp"])
def test_a_forked_child_computes(layer):
    """OpenMP ends a forked child that starts a parallel loop: kernels are serial there."""
    script = """
        import os, sys
        import numpy as np
        from fastconv import ops, runtime
        runtime.set_num_threads(2)
        x = np.random.default_rng(0).standard_normal((64, 64, 32)).astype(np.float32)
        expected = ops.softmax(x)
        child = os.fork()
        if child == 0:
            right = runtime.get_num_threads() == 1 and np.array_equal(ops.softmax(x), expected)
            os._exit(0 if right else 1)
        _, status = os.waitpid(child, 0)
        print(status, runtime.get_num_threads(), np.array_equal(ops.softmax(x), expected))
    """
    assert run_script(script, NUMBA_THREADING_LAYER=layer) == ["0", "2", "True"]
