"""Operations on several samples at once, for compiled loops: LLVM makes vector instructions of
them, whatever the CPU. Of a loop over as few samples it makes none: it unrolls those before it
looks for vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _differences_of(count: int) -> Any:
    """A function for compiled loops alone: the sum int32 of absolute differences of so many bytes
    of two flat arrays of bytes, from the places i and j (uint64) on."""
    wide = ir.VectorType(ir.IntType(32), count)
    absolute = ir.FunctionType(wide, [wide, ir.IntType(1)])
    total = ir.FunctionType(ir.IntType(32), [wide])

    @intrinsic
    def differences(typing: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
        signature = types.int32(a, types.uint64, b, types.uint64)

        def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            kinds, sides = sig.args, []
            for array, at in ((0, 1), (2, 3)):
                data = context.make_array(kinds[array])(context, builder, arguments[array]).data
                place = builder.gep(data, [arguments[at]])
                vector = ir.VectorType(ir.IntType(8), count).as_pointer()
                samples = builder.load(builder.bitcast(place, vector))
                samples.align = 1
                sides.append(builder.zext(samples, wide))
            function = cgutils.get_or_insert_function
            size = function(builder.module, absolute, f"llvm.abs.v{count}i32")
            add = function(builder.module, total, f"llvm.vector.reduce.add.v{count}i32")
            difference = builder.sub(*sides)
            sizes = builder.call(size, [difference, ir.Constant(ir.IntType(1), 0)])
            return builder.call(add, [sizes])

        return signature, generate

    return differences


differences_of_4, differences_of_8, differences_of_16 = (_differences_of(n) for n in (4, 8, 16))
