"""How kernels get operations that numba does not have: types for pointers, vectors and masks, and code from LLVM.

An operation is a *primitive*: a plain function, its *twin*, that works on NumPy arrays, and beside it the LLVM code
that numba compiles in its place. Tests hold one against the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from fastconv import runtime

VECTOR_BYTES = runtime.vector_bytes()
I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    **dict.fromkeys((types.int8, types.uint8), ir.IntType(8)),
    **dict.fromkeys((types.int16, types.uint16), ir.IntType(16)),
    **dict.fromkeys((types.int32, types.uint32), I32),
    **dict.fromkeys((types.int64, types.uint64), I64),
}


def lanes_of(element: types.Number) -> int:
    """Lanes of one register."""
    return VECTOR_BYTES // (element.bitwidth // 8)


# ---- types -----------------------------------------------------------------------------------------------------


class Pointer(types.Type):
    """Address of elements of one type."""

    def __init__(self, element: types.Number):
        self.element = element
        super().__init__(name=f"pointer({element})")


class Vector(types.Type):
    """Lanes of one type. Vectors of integers have the lanes of the reals beside which they are used."""

    def __init__(self, element: types.Number, lanes: int):
        self.element, self.lanes = element, lanes
        super().__init__(name=f"{element}x{lanes}")

    @property
    def llvm(self) -> ir.VectorType:
        """LLVM's type of the lanes."""
        return ir.VectorType(ELEMENTS[self.element], self.lanes)


class Mask(types.Type):
    """One bit a lane."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        super().__init__(name=f"mask{lanes}")


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ELEMENTS[fe_type.element].as_pointer())


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, fe_type.llvm)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.VectorType(I1, fe_type.lanes))


def are(kind: type, *values: types.Type) -> bool:
    """Whether all types are of one kind."""
    return all(isinstance(v, kind) for v in values)


def vector_of(pointer: Pointer) -> Vector:
    """One register of the pointer's elements."""
    return Vector(pointer.element, lanes_of(pointer.element))


def integers_beside(like: Pointer | Vector) -> Vector:
    """Integers, one for each lane of a vector of the same reals, and as wide."""
    return Vector(types.int32 if like.element.bitwidth == 32 else types.int64, lanes_of(like.element))


def _keep_loops(function: ir.Function) -> None:
    """Keep LLVM from turning loops of stores into calls of memset and memcpy: most of ours are a few vectors long.

    Measured on 64 planes of 28 x 28 copied between zeros: 2.1 us a plane with the calls, 1.2 without.
    """
    set.add(function.attributes, '"no-builtins"')  # `add` itself knows only the attributes that have no quotes


# ---- primitives ------------------------------------------------------------------------------------------------


def register(function: Callable, resolve: Callable, emit: Callable, *kinds: type) -> None:
    """Teach numba to compile calls of `function`.

    ``resolve(*types)`` gives the result's type and the types to which the arguments are cast, or None where the types
    do not fit; ``emit(builder, signature, *values)`` emits the code and returns the value. For operators, which others
    define as well, `kinds` are the kinds of types for which the code is.
    """

    @infer_global(function)
    class Template(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            resolved = None if kws else resolve(*args)
            return resolved and signature(resolved[0], *resolved[1:])

    @lower_builtin(function, *(kinds or [types.VarArg(types.Any)]))
    def lower(context, builder, sig, args):
        _keep_loops(builder.function)
        value = emit(builder, sig, *args)
        return context.get_dummy_value() if sig.return_type is types.void else value


def primitive(resolve: Callable, emit: Callable) -> Callable:
    """Decorate a twin: the function itself stays plain Python, numba compiles `emit` in its place."""

    def decorate(twin: Callable) -> Callable:
        # Numba wants to find a function in its module when it is registered, which is before `def` has bound the name.
        setattr(sys.modules[twin.__module__], twin.__name__, twin)
        register(twin, resolve, emit)
        return twin

    return decorate


# ---- LLVM code that many primitives emit -----------------------------------------------------------------------


def address(b: ir.IRBuilder, pointer: ir.Value, index: ir.Value | int, target: ir.Type | None = None) -> ir.Value:
    """Return the address of element `index`, as a pointer to `target`."""
    index = ir.Constant(I64, index) if isinstance(index, int) else index
    p = b.gep(pointer, [index])
    return b.bitcast(p, target.as_pointer()) if target is not None else p


def shuffle(b: ir.IRBuilder, x: ir.Value, y: ir.Value, lanes: list[int]) -> ir.Value:
    """Lanes of ``x | y`` in the given order."""
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def broadcast(b: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """Return a vector of copies of a scalar."""
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    return shuffle(b, b.insert_element(nothing, scalar, ir.Constant(I32, 0)), nothing, [0] * lanes)


def counting(element: ir.IntType, lanes: int) -> ir.Constant:
    """Return the vector 0, 1, 2, ..."""
    return ir.Constant(ir.VectorType(element, lanes), list(range(lanes)))


def intrinsic(b: ir.IRBuilder, name: str, result: ir.Type, *values: ir.Value) -> ir.Value:
    """Call one of LLVM's intrinsics."""
    kind = ir.FunctionType(result, [v.type for v in values])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), values)


def mangled(vector: ir.VectorType) -> str:
    """LLVM's name for a vector type, as it ends the names of intrinsics."""
    names = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}
    return f"v{vector.count}" + (names.get(vector.element) or f"i{vector.element.width}")
