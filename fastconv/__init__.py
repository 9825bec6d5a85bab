"""Fast convolution and pooling on NumPy arrays, forward and backward.

The functions follow ``torch.nn.functional`` in names, argument order and defaults. To each ``f`` belongs an
``f_backward``, which takes the gradient of the result and returns one gradient per array argument:

    y = fastconv.conv2d(x, w, b, padding=1)
    dx, dw, db = fastconv.conv2d_backward(dy, x, w, b, padding=1)

`fastconv.layers` builds networks on them, `fastconv.models` has whole networks, the command ``fastconv`` trains them.
Everything is imported when it is first used, so that ``import fastconv`` stays light.
"""

import os
from importlib import import_module
from typing import Any

from fastconv.ops import MODULES as _OPS

__version__ = "0.1.0.dev0"

_SINGLE = {
    "runtime": ("set_num_threads", "get_num_threads", "set_flush_denormal", "clear_workspaces"),
    "geometry": ("output_size", "conv_transpose_output_size"),
    "layers": ("receptive_field", "count_macs", "count_parameters"),
}
_HOMES = {name: module for module, names in _SINGLE.items() for name in names} | dict.fromkeys(_OPS, "ops")
_SUBMODULES = (
    "data",
    "init",
    "interop",
    "layers",
    "models",
    "ops",
    "optim",
    "reference",
    "runtime",
    "schedule",
    "signal",
    "testing",
    "train",
)

__all__ = sorted([*_HOMES, *_SUBMODULES, "__version__"])

# In a checkout, `models/` and `cli/` stand beside this package; an installed copy elsewhere must not be taken for them.
_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isdir(os.path.join(_root, "asv_bench")) and os.path.isfile(os.path.join(_root, "models", "__init__.py")):
    __path__.append(_root)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next access finds it without a call
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
