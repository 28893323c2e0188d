"""Operations on several numbers at once, for compiled loops: LLVM makes vector instructions of
them, whatever the CPU. Of a loop over so few it makes none: it unrolls those before it looks for
vectors; and what a longer one sums up it keeps in memory.

They take flat arrays, and places in these, which nobody checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE, _SHORT, _INT, _LONG, _FLOAT = *(ir.IntType(n) for n in (8, 16, 32, 64)), ir.FloatType()
_ONCE = ("contract",)  # of products and sums, which may be fused as everywhere in compiled loops


class _Writer:
    """What an operation is written with: LLVM's `builder`, and the arguments of the operation."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder, self._context = builder, context
        self._types, self._arguments = signature.args, arguments

    def place(self, array: int, at: Any, kind: Any) -> Any:
        """Where in an array, the argument of that number, something of a kind lies from `at` on."""
        made = self._context.make_array(self._types[array])
        data = made(self._context, self.builder, self._arguments[array]).data
        return self.builder.bitcast(self.builder.gep(data, [at]), kind.as_pointer())

    def load(self, array: int, at: Any, kind: Any) -> Any:
        """What lies there, as if it were of that kind."""
        loaded = self.builder.load(self.place(array, at, kind))
        loaded.align = 1
        return loaded

    def everywhere(self, number: Any, count: int) -> Any:
        """A vector of so many times the same number."""
        none = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
        first = self.builder.insert_element(none, number, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(first, none, _numbers([0] * count))

    def times(self, start: Any, step: Any, count: int) -> Any:
        """A place so many steps behind another one."""
        return self.builder.add(start, self.builder.mul(step, ir.Constant(_LONG, count)))

    def sum_up(self, array: int, at: Any, kind: Any, work: Callable[[Any], None]) -> None:
        """Let `work` change a vector of a kind, given where it is, and then write it to an array,
        where it came from. Meanwhile it is in registers."""
        sums = cgutils.alloca_once_value(self.builder, self.load(array, at, kind))
        work(sums)
        written = self.builder.store(self.builder.load(sums), self.place(array, at, kind))
        written.align = 1

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        """What a function of LLVM gives."""
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)


def _numbers(values: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INT, len(values)), values)


@intrinsic
def _many_registers(_typing: Any) -> Any:
    def write(context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        features = context.codegen().magic_tuple()[2]
        return context.get_constant(types.boolean, "+avx512f" in features)

    return types.boolean(), write


def _differences_of(count: int) -> Any:
    """differences(a, i, b, j): the sum int32 of absolute differences of so many bytes of a and b,
    from the places i and j (uint64) on."""
    samples, wide = ir.VectorType(_BYTE, count), ir.VectorType(_INT, count)

    @intrinsic
    def differences(_typing: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            one, other = (
                builder.zext(w.load(side, arguments[side + 1], samples), wide) for side in (0, 2)
            )
            sizes = w.call(
                f"llvm.abs.v{count}i32",
                wide,
                builder.sub(one, other),
                ir.Constant(ir.IntType(1), 0),
            )
            return w.call(f"llvm.vector.reduce.add.v{count}i32", _INT, sizes)

        return types.int32(a, types.uint64, b, types.uint64), write

    return differences


def _add_rows_of(count: int) -> Any:
    """add(sums, to, rows, first, width, numbers, values, begin, end): add to so many sums float32,
    from the place `to` on, as many numbers float32 of some rows, from the place `first` of a row
    on. For k from `begin` up to `end` it is the row numbers[k] int16, times values[k] uint8; width:
    from row to row."""
    lanes, place = ir.VectorType(_FLOAT, count), types.int64

    @intrinsic
    def add(
        _typing: Any, sums: Any, to: Any, rows: Any, first: Any, width: Any, numbers: Any,
        values: Any, begin: Any, end: Any,
    ) -> Any:  # fmt: skip
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, to, _, first, width, _, _, begin, end = arguments

            def work(total: Any) -> None:
                step = ir.Constant(_LONG, 1)
                with cgutils.for_range_slice(builder, begin, end, step, _LONG) as (k, _):
                    row = builder.sext(w.load(5, k, _SHORT), _LONG)
                    value = builder.uitofp(w.load(6, k, _BYTE), _FLOAT)
                    at = builder.add(builder.mul(row, width), first)
                    more = builder.fmul(w.everywhere(value, count), w.load(2, at, lanes), _ONCE)
                    builder.store(builder.fadd(builder.load(total), more, _ONCE), total)

            w.sum_up(0, to, lanes, work)
            return context.get_dummy_value()

        signature = types.void(sums, place, rows, place, place, numbers, values, place, place)
        return signature, write

    return add


def _add_pairs_of(count: int) -> Any:
    """add(sums, to, rows, first, width, factors, pairs): add to so many sums int32, from the place
    `to` on, rows of as many pairs of int16, from the place `first` of a row on. Both numbers of
    each pair of row k are multiplied by the numbers 2 k and 2 k + 1 of `factors` int16; width: from
    row to row."""
    both, wide = ir.VectorType(_SHORT, 2 * count), ir.VectorType(_INT, 2 * count)
    lanes, place = ir.VectorType(_INT, count), types.int64

    @intrinsic
    def add(
        _typing: Any, sums: Any, to: Any, rows: Any, first: Any, width: Any, factors: Any,
        pairs: Any,
    ) -> Any:  # fmt: skip
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, to, _, first, width, _, pairs = arguments

            def work(total: Any) -> None:
                with cgutils.for_range(builder, pairs, intp=_LONG) as loop:
                    pair = w.load(5, builder.mul(loop.index, ir.Constant(_LONG, 2)), _INT)
                    factors = builder.bitcast(w.everywhere(pair, count), both)
                    row = w.load(2, builder.add(builder.mul(loop.index, width), first), both)
                    products = builder.mul(builder.sext(factors, wide), builder.sext(row, wide))
                    none = ir.Constant(wide, ir.Undefined)
                    more = builder.load(total)
                    for odd in (0, 1):
                        half = _numbers(list(range(odd, 2 * count, 2)))
                        more = builder.add(more, builder.shuffle_vector(products, none, half))
                    builder.store(more, total)

            w.sum_up(0, to, lanes, work)
            return context.get_dummy_value()

        return types.void(sums, place, rows, place, place, factors, place), write

    return add


def _products_of(high: int, count: int, panels: int = 1) -> Any:
    """multiply(out, to, next, rows, at, width, panel, first, bias, start, length): write to `high`
    rows float32 of `out`, each `next` numbers behind the one before and the first from the place
    `to` on, `count` products: of as many rows of `length` numbers float32, `width` from each other
    and the first from the place `at` on, and a matrix float32 [length, count] at the place `first`
    of `panel`. They start from as many numbers of `bias`, from the place `start` on. Of several
    panels, one behind the other, the products are side by side, and so is the bias."""
    lanes, place = ir.VectorType(_FLOAT, count), types.int64

    @intrinsic
    def multiply(
        _typing: Any, out: Any, to: Any, next_: Any, rows: Any, at: Any, width: Any, panel: Any,
        first: Any, bias: Any, start: Any, length: Any,
    ) -> Any:  # fmt: skip
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, to, next_, _, at, width, _, first, _, start, length = arguments
            beside = [ir.Constant(_LONG, count * n) for n in range(panels)]
            begin = [w.load(8, builder.add(start, more), lanes) for more in beside]
            behind = [builder.add(first, builder.mul(length, more)) for more in beside]
            sums = [[cgutils.alloca_once_value(builder, b) for b in begin] for _ in range(high)]
            with cgutils.for_range(builder, length, intp=_LONG) as loop:
                row = builder.mul(loop.index, ir.Constant(_LONG, count))
                factors = [w.load(6, builder.add(one, row), lanes) for one in behind]
                for n, totals in enumerate(sums):
                    here = builder.add(w.times(at, width, n), loop.index)
                    number = w.everywhere(w.load(3, here, _FLOAT), count)
                    for total, factor in zip(totals, factors, strict=True):
                        more = builder.fmul(number, factor, _ONCE)
                        builder.store(builder.fadd(builder.load(total), more, _ONCE), total)
            for n, totals in enumerate(sums):
                for total, more in zip(totals, beside, strict=True):
                    target = w.place(0, builder.add(w.times(to, next_, n), more), lanes)
                    builder.store(builder.load(total), target).align = 1
            return context.get_dummy_value()

        signature = types.void(
            out, place, place, rows, place, place, panel, place, bias, place, place
        )
        return signature, write

    return multiply


def _filter_of(count: int) -> Any:
    """filter(out, to, next, source, at, width, step, taps, first, rows): write `count` numbers
    float32 of each of some rows to `out`, each row `next` numbers behind the one before and the
    first from the place `to` on: the sum of 8 times as many numbers of `source`, each time `step`
    further, times 8 of `taps`, from the place `first` on. The first row is at the place `at` of
    `source`, the others `width` behind each other."""
    lanes, place = ir.VectorType(_FLOAT, count), types.int64

    @intrinsic
    def filtered(
        _typing: Any, out: Any, to: Any, next_: Any, source: Any, at: Any, width: Any, step: Any,
        taps: Any, first: Any, rows: Any,
    ) -> Any:  # fmt: skip
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, to, next_, _, at, width, step, _, first, rows = arguments
            one = ir.Constant(_LONG, 1)
            factors = [
                w.everywhere(w.load(7, w.times(first, one, k), _FLOAT), count) for k in range(8)
            ]
            with cgutils.for_range(builder, rows, intp=_LONG) as loop:
                start = builder.add(at, builder.mul(loop.index, width))
                terms = [
                    builder.fmul(factor, w.load(3, w.times(start, step, k), lanes), _ONCE)
                    for k, factor in enumerate(factors)
                ]
                # Two sums, so that one need not wait for the other.
                halves = []
                for half in (terms[:4], terms[4:]):
                    total = half[0]
                    for term in half[1:]:
                        total = builder.fadd(total, term, _ONCE)
                    halves.append(total)
                total = builder.fadd(*halves, _ONCE)
                target = w.place(0, builder.add(to, builder.mul(loop.index, next_)), lanes)
                builder.store(total, target).align = 1
            return context.get_dummy_value()

        signature = types.void(out, place, place, source, place, place, place, taps, place, place)
        return signature, write

    return filtered


def _halves(w: _Writer, lanes: Any) -> Any:
    """The sum of a vector of numbers float32, halves upon each other."""
    size = lanes.type.count
    while size > 1:
        size //= 2
        none = ir.Constant(lanes.type, ir.Undefined)
        low, high = (
            w.builder.shuffle_vector(lanes, none, _numbers([*range(start, start + size)]))
            for start in (0, size)
        )
        lanes = w.builder.fadd(low, high)
    return w.builder.extract_element(lanes, ir.Constant(_INT, 0))


def _sum_by(count: int) -> Any:
    """sum(array, at, numbers): the sum of so many numbers float32, a multiple of `count`, from a
    place on."""
    lanes = ir.VectorType(_FLOAT, count)

    @intrinsic
    def added(_typing: Any, array: Any, at: Any, numbers: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, at, numbers = arguments
            total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * count))
            step, start = ir.Constant(_LONG, count), ir.Constant(_LONG, 0)
            with cgutils.for_range_slice(builder, start, numbers, step, _LONG) as (n, _):
                more = w.load(0, builder.add(at, n), lanes)
                builder.store(builder.fadd(builder.load(total), more), total)
            return _halves(w, builder.load(total))

        return types.float32(array, types.int64, types.int64), write

    return added


def _squares_of(count: int) -> Any:
    """squares(a, i, width, b, j, next, rows): the sum of squared differences of `count` numbers
    float32 of each of some rows of a and b, the first from the places i and j on, the others
    `width` and `next` behind each other."""
    lanes, place = ir.VectorType(_FLOAT, count), types.int64

    @intrinsic
    def squares(
        _typing: Any, a: Any, i: Any, width: Any, b: Any, j: Any, next_: Any, rows: Any
    ) -> Any:
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w = _Writer(context, builder, signature, arguments)
            _, i, width, _, j, next_, rows = arguments
            total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * count))
            with cgutils.for_range(builder, rows, intp=_LONG) as loop:
                one = w.load(0, builder.add(i, builder.mul(loop.index, width)), lanes)
                other = w.load(3, builder.add(j, builder.mul(loop.index, next_)), lanes)
                apart = builder.fsub(one, other)
                square = builder.fmul(apart, apart, _ONCE)
                builder.store(builder.fadd(builder.load(total), square, _ONCE), total)
            return _halves(w, builder.load(total))

        return types.float32(a, place, place, b, place, place, place), write

    return squares


differences_of_4, differences_of_8, differences_of_16 = (_differences_of(n) for n in (4, 8, 16))
add_rows_of_32, add_rows_of_64 = _add_rows_of(32), _add_rows_of(64)
add_pairs_of_8 = _add_pairs_of(8)
many_registers: Any = _many_registers
"""Whether the CPU has 32 registers of 16 numbers float32 each (AVX-512), as a constant."""
# As many sums as 16 registers of 8 numbers hold, and enough to wait for none of them. With
# `many_registers` there are half as many operations in the first, which do wait.
multiply_1_by_16 = _products_of(1, 16)
multiply_5_by_16, multiply_5_by_32 = _products_of(5, 16), _products_of(5, 16, 2)
multiply_4_by_16, multiply_8_by_8 = _products_of(4, 16), _products_of(8, 8)
filter_8, filter_16 = _filter_of(8), _filter_of(16)
sum_by_16, squares_of_8 = _sum_by(16), _squares_of(8)
