"""Small counts are hidden, and as much beside them that they cannot be computed from what is left.

Who reads the published table is taken to know all cells that are shown, how they add up, and that a hidden count is at least 1 (a
zero is always shown). Whatever she computes, every hidden small count must still be able to be `below` or more. So for each of them we
look for a second table: the same in every shown cell, adding up as well, and with that count at `below`; the cells in which it
differs from the true one are hidden. This is cell suppression by auditing (Willenborg and de Waal, Elements of Statistical
Disclosure Control, 2001, chapter 4; Fischetti and Salazar, Management Science 47, 2001).

A second table always exists: the true one, all counts multiplied by the same number. The cheapest is a flow where no cell is in more
than two equations (tables with totals of rows, columns or both), else a linear program.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from toolkit.datacentre.analyses.answers import Answer, Cell, Equation, Value

_MANY = 20  # of so many whole numbers every mean is possible when it is told to a tenth: it says nothing about how many there are
_GROUND = -1  # the node behind cells that are in one equation only
_PRICES = (1.0, 1e3, 1e6)  # of a cell that is no total, that is one, that is one and part of none

Places = Mapping[Cell, Sequence[tuple[int, int]]]  # the equations that a cell is in, by number: 1 as the total, -1 as a part
Changes = dict[Cell, int]  # from the true table to another


def note(below: int) -> str:
    """What the mark of a hidden cell means."""
    return f"* fewer than {below}, or hidden so that such a count cannot be computed"


def hide(answer: Answer, below: int) -> Answer:
    """The answer without its counts from 1 to `below` - 1, what they could be computed from, shares of any of them, and means of few.

    A mean of many whose number is hidden only because of others stays, with one decimal: all its digits would tell by what was divided.
    It says that its number is not small, so which one beside it is; by how many that one is small, nothing says.
    Raises ValueError where its equations do not hold, or a count is greater than one that it is within.
    """
    counts: dict[Cell, int] = {("count", name): value for name, value in answer.counts.items() if value is not None}
    for row, values in enumerate(answer.rows):
        for column, (value, about) in enumerate(zip(values, answer.columns, strict=True)):
            if about.kind == "count" and value is not None:
                if not isinstance(value, int):
                    raise ValueError(f"{about.name} of row {row} is no whole number")
                counts["table", row, column] = value
    equations, differences = list(answer.equations), set()
    for number, (part, whole) in enumerate(_next(answer.within)):
        difference: Cell = ("count", f"difference {number}, which is in no table")
        counts[difference] = counts[whole] - counts[part]
        equations.append((whole, (part, difference)))
        differences.add(difference)
    hidden = protect(counts, equations, below, differences)
    if not hidden:
        return answer
    few = {cell for cell in hidden if counts[cell] < max(below, _MANY)}
    rounded: set[Cell] = set()
    grown = True
    while grown:  # a share may come from a mean
        grown = False
        for cell, sources in answer.derived.items():
            if cell not in hidden and not hidden.isdisjoint(sources):
                measured = cell[0] == "table" and answer.columns[cell[2]].kind == "number"
                if measured and hidden.intersection(sources) <= counts.keys() - few:
                    rounded.add(cell)
                else:
                    hidden.add(cell)
                    grown = True

    def shown(cell: Cell, value: Value) -> Value:
        return None if cell in hidden else round(value, 1) if cell in rounded and isinstance(value, float) else value

    return dataclasses.replace(
        answer,
        rows=tuple(
            tuple(shown(("table", row, column), value) for column, value in enumerate(values)) for row, values in enumerate(answer.rows)
        ),
        counts={name: None if ("count", name) in hidden else value for name, value in answer.counts.items()},
        hidden=answer.hidden | hidden,
        notes=(*answer.notes, note(below)),
    )


def _next(within: Iterable[tuple[Cell, Cell]]) -> list[tuple[Cell, Cell]]:
    """The pairs with nothing between them: a difference across another count is no smaller than one of those on its way."""
    wholes: dict[Cell, set[Cell]] = defaultdict(set)
    for part, whole in within:
        wholes[part].add(whole)

    def truly(part: Cell, whole: Cell) -> bool:
        return whole in wholes.get(part, ()) and part not in wholes.get(whole, ())

    pairs = sorted((part, whole) for part, found in wholes.items() for whole in found)
    return [(part, whole) for part, whole in pairs if not any(truly(part, one) and truly(one, whole) for one in wholes[part])]


def protect(counts: Mapping[Cell, int], equations: Iterable[Equation], below: int, unpublished: Collection[Cell] = ()) -> set[Cell]:
    """The cells to hide: all from 1 to `below` - 1, and cheap others, small ones first and totals last.

    Small ones among the `unpublished` must not be computable either; they are not among the answer. Totals are last because other
    answers to the same period have them too. The same for the same counts and
    equations in any order. Raises ValueError where an equation does not hold, names a cell without a count, or a count is negative.
    """
    small = sorted(cell for cell, value in counts.items() if 0 < value < below)
    if negative := [cell for cell, value in counts.items() if value < 0]:
        raise ValueError(f"a negative count: {min(negative)}")
    ordered = sorted({(total, tuple(sorted(parts))) for total, parts in equations})
    for total, parts in ordered:
        if missing := [cell for cell in (total, *parts) if cell not in counts]:
            raise ValueError(f"an equation names a cell without a count: {missing[0]}")
        if counts[total] != sum(counts[part] for part in parts):
            raise ValueError(f"the parts of {total} do not add up to it")
    if not small:
        return set()
    system = _System(counts, ordered)
    hidden = {*small, *(cell for cell in unpublished if counts[cell])}
    others: dict[Cell, Changes] = {}  # by small cell: a second table
    for cell in small:
        known = next((one for one in others.values() if counts[cell] + one.get(cell, 0) >= below), None)
        found = known if known is not None else system.other(cell, below, hidden, everything=True)
        if found is None:
            raise ValueError(f"nothing can hide {cell}")  # pragma: no cover - the true table's multiples can
        others[cell] = found
        hidden |= found.keys()
    for extra in sorted(hidden.difference(small, unpublished), key=lambda cell: (system.price(cell), cell), reverse=True):
        fewer = hidden - {extra}
        anew: dict[Cell, Changes] = {}
        for cell in (cell for cell in small if extra in others[cell]):
            found = system.other(cell, below, fewer, everything=False)
            if found is None:
                break
            anew[cell] = found
        else:
            hidden = fewer
            others.update(anew)
    return hidden.difference(unpublished)


class _System:
    """Counts that are not zero, and the equations between them."""

    def __init__(self, counts: Mapping[Cell, int], equations: Sequence[Equation]) -> None:
        self._values = {cell: value for cell, value in sorted(counts.items()) if value > 0}
        places: dict[Cell, list[tuple[int, int]]] = defaultdict(list)
        for number, (total, parts) in enumerate(equations):
            for cell, sign in ((total, 1), *((part, -1) for part in parts)):
                if cell in self._values:
                    places[cell].append((number, sign))
        self._places: Places = places
        totals, parts_of_some = {total for total, _ in equations}, {part for _, parts in equations for part in parts}
        self._level = {cell: 0 if cell not in totals else 1 if cell in parts_of_some else 2 for cell in self._values}
        self._most = max(self._values.values())
        self._arcs = _network(places, len(equations))
        self._from_node: dict[int, list[Cell]] = defaultdict(list)
        for cell, ends in self._arcs.items() if self._arcs is not None else ():
            for node in ends:
                self._from_node[node].append(cell)

    def price(self, cell: Cell) -> float:
        """What hiding a cell costs: least for a small count, most for a total of all."""
        return _PRICES[self._level[cell]] * (1 + self._values[cell] / self._most)

    def other(self, cell: Cell, below: int, hidden: set[Cell], everything: bool) -> Changes | None:
        """Another table with `cell` at `below` or more, if there is one, which differs in hidden cells or, for a price, in any."""
        need = below - self._values[cell]
        if not self._places.get(cell):
            return {cell: need}
        if self._arcs is None:
            return self._program(cell, need, hidden, everything)
        changes = {cell: need}
        start, goal = self._arcs[cell][1], self._arcs[cell][0]
        while need:
            if (path := self._cheapest(start, goal, cell, changes, hidden, everything)) is None:
                return None
            push = min([need, *(self._values[one] + changes.get(one, 0) - 1 for one, step in path if step < 0)])
            for one, step in path:
                changes[one] = changes.get(one, 0) + step * push
            need -= push
        return {one: change for one, change in changes.items() if change}

    def _cheapest(
        self, start: int, goal: int, without: Cell, changes: Changes, hidden: set[Cell], everything: bool
    ) -> list[tuple[Cell, int]] | None:
        """Dijkstra's path of cells that grow (1) or shrink (-1) and so carry what is too much at `start` to `goal`."""
        assert self._arcs is not None
        best: dict[int, float] = {start: 0.0}
        came: dict[int, tuple[int, Cell, int]] = {}
        queue, done = [(0.0, start)], set()
        while queue:
            cost, node = heapq.heappop(queue)
            if node == goal:
                path = []
                while node != start:
                    node, cell, step = came[node]
                    path.append((cell, step))
                return path
            if node in done:
                continue
            done.add(node)
            for cell in self._from_node[node]:
                free = cell in hidden or cell in changes
                if cell == without or not (free or everything):
                    continue
                tail, head = self._arcs[cell]
                step, to = (1, head) if tail == node else (-1, tail)
                if step < 0 and self._values[cell] + changes.get(cell, 0) <= 1:
                    continue
                total = cost + (0.0 if free else self.price(cell))
                if total < best.get(to, float("inf")):
                    best[to] = total
                    came[to] = (node, cell, step)
                    heapq.heappush(queue, (total, to))
        return None

    def _program(self, cell: Cell, need: int, hidden: set[Cell], everything: bool) -> Changes | None:
        """The same by a linear program, in whole numbers where its vertex is none."""
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, hstack

        cells = [one for one in self._values if self._places.get(one) and (everything or one in hidden)]
        entries = [(number, column, sign) for column, one in enumerate(cells) for number, sign in self._places[one]]
        rows, columns, signs = (np.array(values) for values in zip(*entries, strict=True))
        shape = (int(rows.max()) + 1, len(cells))
        matrix = csr_array((signs.astype(float), (rows, columns)), shape=shape)
        price = [1e-6 if one in hidden else self.price(one) for one in cells]
        bounds: list[tuple[int, int | None]] = [(need if one == cell else 0, None) for one in cells]  # growing
        bounds += [(0, 0 if one == cell else self._values[one] - 1) for one in cells]  # shrinking
        both = hstack([matrix, -matrix])
        for whole in (0, 1):
            found = linprog([*price, *price], A_eq=both, b_eq=np.zeros(shape[0]), bounds=bounds, integrality=whole, method="highs")
            if found.x is None:
                return None
            change = np.rint(found.x[: len(cells)] - found.x[len(cells) :]).astype(int)
            if not (matrix @ change).any() and change[cells.index(cell)] >= need:
                return {one: int(value) for one, value in zip(cells, change, strict=True) if value}
        return None


def _network(places: Places, equations: int) -> dict[Cell, tuple[int, int]] | None:
    """The graph whose nodes are equations and whose arcs are cells, if there is one.

    A cell that grows by 1 brings 1 too much from the first node to the second. That needs equations to be turned round such that each
    cell is a total in one of them at most, and a part in one at most; a cell in one equation only ends at the ground.
    """
    if any(len(found) > 2 or len({number for number, _ in found}) < len(found) for found in places.values()):
        return None
    beside: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for found in places.values():
        if len(found) == 2:
            (first, one), (second, two) = found
            beside[first].append((second, -one * two))
            beside[second].append((first, -one * two))
    turn: dict[int, int] = {}
    for begin in range(equations):
        waiting = [] if begin in turn else [(begin, 1)]
        while waiting:
            node, sign = waiting.pop()
            if turn.setdefault(node, sign) != sign:
                return None
            waiting += [(to, sign * same) for to, same in beside[node] if turn.get(to) != sign * same]
    arcs = {}
    for cell, found in places.items():
        ends = {sign * turn[number]: number for number, sign in found}
        arcs[cell] = (ends.get(-1, _GROUND), ends.get(1, _GROUND))
    return arcs
