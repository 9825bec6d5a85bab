"""Optimisers and schedules against PyTorch's, and what they promise besides."""

import numpy as np
import pytest

from fastconv import optim, schedule
from fastconv.layers import Arena, Linear, Sequential

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.03}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-5, "weight_decay": 0.3}),
]
IDS = [f"{name}{number}" for number, (name, _) in enumerate(SETTINGS)]
every_setting = pytest.mark.parametrize("name, settings", SETTINGS, ids=IDS)


def make_arena(dtype=np.float64, features=5):
    return Arena(Sequential(Linear(features, 3, rng=0), Linear(3, 3, rng=1)).astype(dtype))


def gradients(arena, steps):
    """Fill the gradients (but not the gaps between them) with new numbers at each step."""
    rng = np.random.default_rng(3)
    for _ in range(steps):
        for view in arena.views(arena.grads).values():
            view[...] = rng.standard_normal(view.shape)
        yield


@every_setting
@pytest.mark.parametrize("features", [5, 14000], ids=["small", "several_tasks"])
def test_steps_are_those_of_torch(features, name, settings):
    torch = pytest.importorskip("torch")
    arena = make_arena(features=features)
    theirs = {key: torch.tensor(view, requires_grad=True) for key, view in arena.views(arena.params).items()}
    ours, reference = getattr(optim, name)(arena, **settings), getattr(torch.optim, name)(theirs.values(), **settings)
    grads = arena.views(arena.grads)
    for _ in gradients(arena, 20):
        for key, tensor in theirs.items():
            tensor.grad = torch.tensor(grads[key])
        ours.step()
        reference.step()
    for key, view in arena.views(arena.params).items():
        np.testing.assert_allclose(view, theirs[key].detach().numpy(), rtol=1e-12, atol=1e-12)


@every_setting
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_and_gradients_are_left_alone(name, settings, dtype):
    arena = make_arena(dtype)
    optimizer = getattr(optim, name)(arena, **settings)
    for _ in gradients(arena, 3):
        before = arena.grads.copy()
        optimizer.step()
        np.testing.assert_array_equal(arena.grads, before)
    assert optimizer.steps == 3
    for view in arena.views(arena.params).values():
        assert view.all()
        view[...] = 0
    assert not arena.params.any()


@every_setting
def test_threads_do_not_show(name, settings, set_num_threads):
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        arena = make_arena(np.float32, features=30000)
        optimizer = getattr(optim, name)(arena, **settings)
        for _ in gradients(arena, 2):
            optimizer.step()
        results.append(arena.params)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@every_setting
def test_a_stopped_run_continues_to_the_same_bits(name, settings):
    through, stopped = make_arena(np.float32), make_arena(np.float32)
    optimizers = [getattr(optim, name)(arena, **settings) for arena in (through, stopped)]
    for step, _ in enumerate(zip(gradients(through, 6), gradients(stopped, 6), strict=True)):
        if step == 3:
            state = optimizers[1].state_dict()
            stopped_params = stopped.params.copy()
            stopped = make_arena(np.float32)
            stopped.params[...] = stopped_params
            optimizers[1] = getattr(optim, name)(stopped, **settings)
            optimizers[1].load_state_dict(state)
        stopped.grads[...] = through.grads
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(stopped.params, through.params)


def test_state_names_its_parts_and_is_checked():
    optimizer = optim.SGD(make_arena(), 0.1, momentum=0.9)
    state = optimizer.state_dict()
    assert list(state) == ["steps"] + [f"momentum.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")]
    with pytest.raises(ValueError, match="Adam: the state does not fit: missing: mean.0.weight"):
        optim.Adam(make_arena()).load_state_dict(state)
    state["momentum.0.weight"][...] = 5
    assert not optimizer.state["momentum"].any()


def test_the_rate_of_one_step():
    arena = make_arena()
    optimizer = optim.SGD(arena, lr=0.5)
    arena.grads[...] = 1
    before = arena.params.copy()
    optimizer.step(lr=0.25)
    np.testing.assert_allclose(arena.params, before - 0.25)
    optimizer.step()
    np.testing.assert_allclose(arena.params, before - 0.75)
    optimizer.step(lr=np.float64(0))
    np.testing.assert_allclose(arena.params, before - 0.75)
    optimizer.zero_grad()
    assert not arena.grads.any()


def test_divergence_is_quiet():
    arena = make_arena(np.float32)
    optimizer = optim.SGD(arena, lr=1e30, momentum=0.9)
    arena.grads[...] = 1e30
    optimizer.step()
    assert np.isinf(arena.params).all()


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda a: optim.SGD(a, -0.1), ValueError, "SGD: lr must be >= 0 and < inf, got -0.1"),
        (lambda a: optim.SGD(a, float("nan")), ValueError, "lr"),
        (lambda a: optim.SGD(a, "0.1"), TypeError, "SGD: lr must be a number, got '0.1'"),
        (lambda a: optim.SGD(a, 0.1, momentum=-1), ValueError, "momentum"),
        (lambda a: optim.SGD(a, 0.1, nesterov=True), ValueError, "nesterov needs momentum"),
        (lambda a: optim.SGD(a, 0.1, weight_decay=-1), ValueError, "weight_decay"),
        (lambda a: optim.SGD(a, 0.1).step(lr=float("inf")), ValueError, "lr"),
        (lambda a: optim.Adam(a, betas=(0.9, 1.0)), ValueError, "Adam: betas must be >= 0 and < 1, got 1.0"),
        (lambda a: optim.Adam(a, betas=(0.9,)), ValueError, "betas must be two numbers"),
        (lambda a: optim.AdamW(a, eps=0), ValueError, "AdamW: betas must be two numbers and eps > 0"),
    ],
)
def test_bad_settings(build, error, message):
    with pytest.raises(error, match=message):
        build(make_arena())


# ---- schedules


@pytest.mark.parametrize("total", [5, 20, 101])
def test_one_cycle_is_that_of_torch(total):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=total)
    for step in range(total):
        assert schedule.one_cycle(step, total, 0.3) == pytest.approx(reference.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        if step + 1 < total:
            reference.step()


def test_one_cycle_rises_and_falls():
    rates = [schedule.one_cycle(step, 100, 1.0, warmup=0.4, div=10, final_div=100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[-1] == pytest.approx(0.001)
    assert max(rates) == rates[39] == 1
    assert rates[:40] == sorted(rates[:40]) and rates[39:] == sorted(rates[39:], reverse=True)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_short_cycles_stay_within_their_limits(total, warmup):
    for step in range(total):
        assert 0 < schedule.one_cycle(step, total, 2.0, warmup) <= 2.0


@pytest.mark.parametrize("step, total, warmup", [(10, 10, 0.3), (-1, 10, 0.3), (0, 0, 0.3), (0, 10, 1.5)])
def test_steps_outside_the_cycle(step, total, warmup):
    with pytest.raises(ValueError, match=r"one_cycle: (step|warmup) must be"):
        schedule.one_cycle(step, total, 1.0, warmup)


def test_constant():
    assert {schedule.SCHEDULES["constant"](step, 9, 0.1) for step in range(9)} == {0.1}
