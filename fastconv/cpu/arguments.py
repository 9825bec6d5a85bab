"""The arguments of a kernel: a block of 8 bytes each, read by name."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import models, register_model
from numpy.typing import NDArray

from fastconv.cpu.simd import ELEMENTS, I64, Pointer
from fastconv.cpu.twin import TwinPointer

KINDS = {"int32": types.int32, "int64": types.int64, "uint8": types.uint8}
REALS = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}


class Args(types.Type):
    """Block of 8-byte arguments of a kernel, read by name; `real` is the type for which the kernel is compiled."""

    def __init__(self, real: types.Number, fields: tuple[tuple[str, str], ...]):
        self.real, self.fields = real, fields
        super().__init__(name=f"args({real}, {fields})")

    def field(self, name: str) -> types.Type | None:
        """Type of an argument: a pointer to reals or to integers, an integer, or a real number."""
        kind = dict(self.fields).get(name)
        if kind is None:
            return None
        if kind == "int":
            return types.int64
        if kind == "scalar":
            return self.real
        return Pointer(self.real if kind == "real" else KINDS[kind])


@register_model(Args)
class _ArgsModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


@infer_getattr
class _ArgsAttributes(AttributeTemplate):
    key = Args

    def generic_resolve(self, args, name):
        return args.field(name)


@lower_getattr_generic(Args)
def _emit_argument(context, b, args, block, name):
    slot = [f for f, _ in args.fields].index(name)
    place = b.gep(b.inttoptr(block, I64.as_pointer()), [ir.Constant(I64, slot)])
    kind = args.field(name)
    if isinstance(kind, Pointer):
        return b.inttoptr(b.load(place), ELEMENTS[kind.element].as_pointer())
    if isinstance(kind, types.Integer):
        return b.load(place)
    number = b.load(b.bitcast(place, ir.DoubleType().as_pointer()))
    return number if kind is types.float64 else b.fptrunc(number, ir.FloatType())


class TwinArgs:
    """The block of arguments for kernels that run as plain Python."""

    def __init__(self, dtype: np.dtype, fields: tuple[tuple[str, str], ...], block: NDArray[np.int64]):
        for (name, kind), value in zip(fields, block, strict=False):
            if kind == "int":
                setattr(self, name, int(value))
            elif kind == "scalar":
                setattr(self, name, dtype.type(np.int64(value).view(np.float64)))
            else:
                setattr(self, name, TwinPointer(value, dtype if kind == "real" else kind))
