"""From positions inside windows of any kind to places in planes: flat indices, and the gradient of maxima.

A window's gradient goes to one of its elements, so it is scattered: visiting each window that an element lies in costs
as many visits as a window has places. A task owns whole planes and takes their windows in order, so that sums have the
same bits whoever does it.
"""

from __future__ import annotations

from fastconv.cpu.loop import kernel
from fastconv.cpu.pool_planes import POSITIONS, fill

# Position p of the window at (row, column) lies at ``origins[row] + column * advance + offsets[p]`` in its plane.
PLACES = {"origins": "int64", "offsets": "int64"} | dict.fromkeys(
    ("advance", "all_planes", "planes", "out_rows", "out_columns"), "int"
)


def _flat_indices(args, task, slot):
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        for row in range(args.out_rows):
            place = (plane * args.out_rows + row) * args.out_columns
            for j in range(args.out_columns):
                args.indices[place + j] = args.origins[row] + j * args.advance + args.offsets[args.saved[place + j]]


def _max_backward(args, task, slot):
    saved, dy, offsets, size, places = args.saved, args.dy, args.offsets, args.size, args.places
    columns, advance = args.out_columns, args.advance
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        fill(args.dx + plane * size, size, 0.0)
        for row in range(args.out_rows):
            place, dx = (plane * args.out_rows + row) * columns, args.dx + (plane * size + args.origins[row])
            for j in range(columns):
                position = saved[place + j]
                if position < places:  # else the ReLU's zero lies nowhere
                    at = j * advance + offsets[position]
                    dx[at] = dx[at] + dy[place + j]


FLAT_INDICES = {dtype: kernel(saved=dtype, indices="int64", **PLACES)(_flat_indices) for dtype in POSITIONS}
MAX_BACKWARD = {
    dtype: kernel(dy="real", saved=dtype, dx="real", size="int", places="int", **PLACES)(_max_backward)
    for dtype in POSITIONS
}
