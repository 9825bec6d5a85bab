"""Loops, conditions and calls in emitted code; values stay in registers from one round of a loop to the next."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastconv.cpu.primitive import I64

Values = list[ir.Value]


def repeat(
    b: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int, values: Values, body: Callable[..., Values]
) -> Values:
    """Emit ``for k in range(start, stop, step): values = body(k, values)``; return the values as they end."""
    before, loop, after = b.block, b.append_basic_block("round"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", start, stop), loop, after)
    b.position_at_end(loop)
    k, current = b.phi(I64), [b.phi(value.type) for value in values]
    new = body(k, current)
    following, end = b.add(k, I64(step)), b.block
    b.cbranch(b.icmp_signed("<", following, stop), loop, after)
    for phi, first, last in zip([k, *current], [start, *values], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    return _joined(b, after, (before, values), (end, new))


def when(b: ir.IRBuilder, condition: ir.Value, values: Values, body: Callable[..., Values]) -> Values:
    """Emit ``if condition: values = body(values)``; return the values as they are behind it."""
    before, inside, after = b.block, b.append_basic_block("then"), b.append_basic_block("done")
    b.cbranch(condition, inside, after)
    b.position_at_end(inside)
    new = body(values)
    end = b.block
    b.branch(after)
    return _joined(b, after, (before, values), (end, new))


def choose(b: ir.IRBuilder, case: ir.Value, values: Values, bodies: list[Callable[..., Values]]) -> Values:
    """Emit ``values = bodies[case](values)``; other cases leave them as they are."""
    before, after = b.block, b.append_basic_block("chosen")
    switch, ways = b.switch(case, after), [(before, values)]
    for k, body in enumerate(bodies):
        inside = b.append_basic_block(f"case{k}")
        switch.add_case(I64(k), inside)
        b.position_at_end(inside)
        new = body(values)
        ways.append((b.block, new))
        b.branch(after)
    return _joined(b, after, *ways)


def _joined(b: ir.IRBuilder, block: ir.Block, *ways: tuple[ir.Block, Values]) -> Values:
    b.position_at_end(block)
    joined = [b.phi(value.type) for value in ways[0][1]]
    for origin, values in ways:
        for phi, value in zip(joined, values, strict=True):
            phi.add_incoming(value, origin)
    return joined


def call_through(b: ir.IRBuilder, sig: object, function: ir.Value, *args: ir.Value) -> None:
    """Call a compiled tile by its address; its first argument is but a type."""
    args = (I64(0), *args)
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in args])
    b.call(b.inttoptr(function, kind.as_pointer()), args)
