"""Vectors of numbers in numba code that stay in the processor's registers, which numba's own loops over arrays do not promise.

A vector has `lanes(dtype)` elements: two of the widest registers where there are 32 of them (AVX-512), else one, so that a
dozen fit. Compiled code is kept by numba for each processor apart.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import binding, ir

# Without scipy numba has no matrix products, which nothing here uses, and is loaded in half the time.
_scipy = sys.modules.get("scipy.linalg", sys)
sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
try:
    import numba.np.arraymath  # noqa: F401
finally:
    del sys.modules["scipy.linalg"]
    if _scipy is not sys:
        sys.modules["scipy.linalg"] = _scipy

from numba import types  # noqa: E402
from numba.core import cgutils, config  # noqa: E402
from numba.extending import intrinsic, models, register_model  # noqa: E402

_FEATURES: str = getattr(config, "CPU_FEATURES", None) or binding.get_host_cpu_features().flatten()  # numba lets the user choose them
_BYTES = 128 if "+avx512f" in _FEATURES.split(",") else 32
_ELEMENTS = {types.float64: (ir.DoubleType(), "f64", 8), types.float32: (ir.FloatType(), "f32", 4)}


def lanes(dtype: np.dtype | str) -> int:
    """Elements of a vector of this type, ``float32`` or ``float64``."""
    return _BYTES // np.dtype(dtype).itemsize


class Vector(types.Type):
    """numba's type of a vector; `element` is float32 or float64."""

    def __init__(self, element: Any) -> None:
        self.element = element
        self.scalar, self.suffix, size = _ELEMENTS[element]
        self.count = _BYTES // size
        super().__init__(name=f"Vector({element} x {self.count})")

    @property
    def code(self) -> ir.VectorType:
        return ir.VectorType(self.scalar, self.count)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.code)


def _address(context: Any, builder: Any, array_type: Any, arguments: Any, vector: Vector | None = None) -> Any:
    place = builder.gep(context.make_array(array_type)(context, builder, arguments[0]).data, [arguments[1]])
    return builder.bitcast(place, vector.code.as_pointer()) if vector else place


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The elements of a one-dimensional contiguous array from `index` on."""
    vector = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_address(context, builder, signature.args[0], arguments, vector))
        value.align = 4  # whatever numpy aligned the array to
        return value

    return vector(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Put a vector into a one-dimensional contiguous array from `index` on; float64 into an array of float32 is rounded."""
    held = Vector(array.dtype).scalar
    kept = ir.VectorType(held, value.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], arguments)
        given = arguments[2] if held == value.scalar else builder.fptrunc(arguments[2], kept)
        done = builder.store(given, builder.bitcast(place, kept.as_pointer()))
        done.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def spread(typing: Any, array: Any, index: Any) -> Any:
    """A vector whose elements all are array[index]."""
    vector = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(vector.code, ir.Undefined)
        scalar = builder.load(_address(context, builder, signature.args[0], arguments))
        first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count))

    return vector(array, types.intp), generate


def _multiply_add(builder: Any, vector: Vector, factors: list[Any], summand: Any) -> Any:
    kind = ir.FunctionType(vector.code, [vector.code] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{vector.count}{vector.suffix}")
    return builder.call(function, [*factors, summand])


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, in one instruction where the processor has it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _multiply_add(builder, a, arguments[:2], arguments[2])

    return a(a, a, a), generate


@intrinsic
def multiply_subtract(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b - c, in one instruction where the processor has it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _multiply_add(builder, a, arguments[:2], builder.fneg(arguments[2]))

    return a(a, a, a), generate


def _operator(name: str) -> Any:
    @intrinsic
    def apply(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return a(a, a), generate

    return apply


add, subtract, multiply, divide = (_operator(name) for name in ("fadd", "fsub", "fmul", "fdiv"))
