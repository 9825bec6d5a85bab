"""Threads, memory that is used again, and the kernel cache in bad weather."""

import gc
import os
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fastconv import runtime
from fastconv.runtime import cache, memory, threads


@pytest.fixture
def pool(monkeypatch):
    """Return an empty pool, for this test only."""
    monkeypatch.setattr(memory, "_pool", memory._Pool())
    return memory._pool


# ---- threads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (2**40, ValueError), (1.0, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_number_of_threads_is_checked(n, error):
    before = runtime.get_num_threads()
    with pytest.raises(error, match=r"set_num_threads: n must be .*" + str(n)):
        runtime.set_num_threads(n)
    assert runtime.get_num_threads() == before


def test_number_of_threads_is_kept(set_num_threads):
    for n in (1, 3, np.int64(2)):
        set_num_threads(n)
        assert runtime.get_num_threads() == n and type(runtime.get_num_threads()) is int


def test_number_of_threads_from_the_environment(monkeypatch):
    monkeypatch.setattr(threads._State, "threads", None)
    monkeypatch.setenv("FASTCONV_NUM_THREADS", "3")
    assert runtime.get_num_threads() == 3
    for wrong in ("0", "two", "-1", "1.5", "99999"):
        monkeypatch.setattr(threads._State, "threads", None)
        monkeypatch.setenv("FASTCONV_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=f"FASTCONV_NUM_THREADS.*{wrong}"):
            runtime.get_num_threads()


# ---- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (0, 4), (1000, 7), 17], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_arrays_are_aligned_and_plain(shape, dtype, pool):
    array = runtime.empty(shape, dtype)
    assert array.shape == ((shape,) if isinstance(shape, int) else shape) and array.dtype == dtype
    assert type(array) is np.ndarray and array.flags.carray
    assert array.ctypes.data % runtime.ALIGNMENT == 0 and runtime.address(array) == array.ctypes.data
    array[...] = 1
    assert not runtime.zeros(shape, dtype).any()


def test_memory_is_used_again_when_the_last_view_is_gone(pool):
    array = runtime.empty((40, 50), np.float32)
    place = array.ctypes.data
    view = array[3:].view(np.int32)[:, 1]
    del array
    assert runtime.empty((40, 50), np.float32).ctypes.data != place
    view[:] = 5
    del view
    gc.collect()
    assert place in {a.ctypes.data for a in [runtime.empty((50, 40), np.float32) for _ in range(2)]}


def test_arrays_in_use_never_share_memory(pool):
    arrays = [runtime.empty(1000 + 8 * k, np.float32) for k in range(20)]
    for k, array in enumerate(arrays):
        array[:] = k
    del arrays[::3]
    arrays += [runtime.zeros(1000 + 8 * k, np.float32) for k in range(20)]
    starts = sorted((a.ctypes.data, a.nbytes) for a in arrays)
    assert all(first + nbytes <= second for (first, nbytes), (second, _) in pairwise(starts))
    assert {int(a[0]) for a in arrays[:13]} == {k for k in range(20) if k % 3}


def test_size_classes():
    """At most an eighth is unused, whole cache lines, and never less than asked for."""
    for nbytes in [0, 1, 63, 64, 65, 1000, 4096, 4097, *(3**k for k in range(8, 39))]:
        size = memory._Pool.size_class(nbytes)
        assert size >= max(nbytes, 1) and size % runtime.ALIGNMENT == 0
        assert size <= max(nbytes * 1.125, nbytes + runtime.ALIGNMENT)
    assert memory._Pool.size_class(1000) == memory._Pool.size_class(1024)


def test_the_pool_keeps_only_so_much(pool, monkeypatch):
    monkeypatch.setattr(memory, "POOL_LIMIT", 10_000)
    arrays = [runtime.empty(4000, np.uint8) for _ in range(5)]
    del arrays
    assert 4000 <= pool._bytes <= 10_000
    runtime.clear_workspaces()
    assert pool._bytes == 0 and not any(pool._free.values())


def test_the_pool_serves_threads(pool):
    def work(k):
        for i in range(300):
            array = runtime.empty(100 + i % 7, np.int64)
            array[:] = k
            wrong.extend(array[array != k])

    wrong = []
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(2**40, 2**10), (2**61, 2), (2**70,), (np.int64(2**62), 16)], ids=str)
def test_too_much_memory_names_the_bytes(shape):
    nbytes = 4 * int(shape[0]) * (int(shape[1]) if len(shape) > 1 else 1)
    with pytest.raises(MemoryError, match=str(nbytes)):
        runtime.empty(shape, np.float32)


def test_addresses():
    array = np.arange(6.0)
    assert runtime.address(None) == 0
    array.flags.writeable = False
    assert runtime.address(array) == array.ctypes.data
    assert runtime.address(array[:0]) == array.ctypes.data


# ---- the kernel cache ------------------------------------------------------------------------------------------

COMPILE_AND_REPORT = """
import numpy as np
from fastconv import ops, runtime
compiled = []
runtime.on_compile(compiled.append)
runtime.set_num_threads(1)
x = np.linspace(-1, 1, 100, dtype=np.float32)
assert np.array_equal(ops.relu(x), np.maximum(x, 0))
print(len(compiled), runtime.cache_directory())
"""


def start_process(cache):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COMPILE_AND_REPORT],
        env={**os.environ, "FASTCONV_CACHE_DIR": str(cache)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def compile_in(cache, process=None):
    """Run a kernel in a process of its own; return how many it compiled, and where it keeps them."""
    out, errors = (process or start_process(cache)).communicate(timeout=300)
    assert out, errors
    count, directory = out.split(maxsplit=1)
    return int(count), directory.strip()


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory):
    """Return a cache directory with the kernels of one process."""
    cache = tmp_path_factory.mktemp("cache")
    count, directory = compile_in(cache)
    assert count == 2  # the kernel and the loop
    assert Path(directory).parent == cache
    return cache


def test_kernels_are_compiled_once(warm_cache):
    assert compile_in(warm_cache)[0] == 0


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_damaged_cache_files_are_replaced(damage, warm_cache, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(warm_cache, cache)
    index, code = sorted(cache.rglob("*.nbi"))[0], sorted(cache.rglob("*.nbc"))[-1]
    assert index.stem != code.stem.removesuffix(".1")  # of two kernels
    for file in (index, code):
        old = file.read_bytes()
        file.write_bytes({"truncated": old[: len(old) // 2], "empty": b"", "foreign": b"no pickle" * 100}[damage])
    assert compile_in(cache)[0] == 2
    assert compile_in(cache)[0] == 0


def test_without_a_cache_kernels_are_compiled_in_each_process(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a directory")
    for _ in range(2):
        assert compile_in(file / "cache") == (2, "None")
    assert file.read_text() == "not a directory"


def test_two_processes_compile_at_once(tmp_path):
    processes = [start_process(tmp_path) for _ in range(2)]
    results = [compile_in(tmp_path, process) for process in processes]
    assert results[0][1] == results[1][1]
    assert compile_in(tmp_path) == (0, results[0][1])


def test_edited_sources_have_another_cache(tmp_path, monkeypatch):
    """Numba looks at one file; an edited helper in another one must not run old code."""
    package = Path(cache.__file__).parent.parent
    for name in ("cpu/simd_math.py", "jit.py", "runtime/facts.py", "cpu/pool.py"):
        copy = tmp_path / "fastconv"
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(cache, "__file__", str(copy / "runtime" / "cache.py"))
        before = runtime.source_hash.__wrapped__()
        (copy / "ops" / "activation.py").write_text("# no kernel")
        assert runtime.source_hash.__wrapped__() == before
        (copy / name).write_text((copy / name).read_text() + "# edited\n")
        assert runtime.source_hash.__wrapped__() != before
        shutil.rmtree(copy)


def test_old_caches_are_removed(tmp_path):
    old, recent, current, other = (tmp_path / f"{name}" for name in ("kernels-1", "kernels-2", "kernels-3", "other"))
    for directory in (old, recent, current, other):
        directory.mkdir()
    for directory in (old, other):
        os.utime(directory, (0, 0))
    cache._remove_old(current)
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-2", "kernels-3", "other"}


def test_callbacks_hear_of_compilations_until_they_end():
    heard = []
    end = runtime.on_compile(heard.append)
    runtime.announce_compile("first")
    end()
    end()
    runtime.announce_compile("second")
    assert heard == ["first"]


# ---- facts -----------------------------------------------------------------------------------------------------


def test_host():
    facts = runtime.host()
    assert facts["vector_bytes"] in (16, 32, 64) and facts["cores"] >= 1
    assert facts["threading_layer"] in ("tbb", "omp", "workqueue")


@pytest.mark.skipif(runtime.host()["machine"] != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize(("name", "nbytes"), [("nehalem", 16), ("haswell", 32)])
def test_vectors_follow_the_chosen_processor(name, nbytes):
    if runtime.vector_bytes() < nbytes:
        pytest.skip("this processor has shorter vectors")
    script = COMPILE_AND_REPORT + "print(runtime.vector_bytes())"
    environment = {**os.environ, "NUMBA_CPU_NAME": name}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.stdout.split()[-1:] == [str(nbytes)], result.stderr
