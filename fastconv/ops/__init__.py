"""The operations on arrays: every forward function ``f`` and its ``f_backward``.

An operation checks its arguments, allocates the result and runs a kernel. The modules here hold one family each. They
are imported when the first of their functions is asked for, because a kernel brings Numba along.
"""

from importlib import import_module
from typing import Any

# The one table of public operations. Each has its gradient, named with ``_backward``, in the same module.
FAMILIES: dict[str, tuple[str, ...]] = {
    "conv": ("conv1d", "conv2d", "conv3d"),
    "conv_transpose": ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    "deform_conv": ("deform_conv2d",),
    "separable": ("depthwise_separable_conv2d",),
    "max_pool": ("max_pool1d", "max_pool2d", "max_pool3d"),
    "avg_pool": ("avg_pool1d", "avg_pool2d", "avg_pool3d"),
    "lp_pool": ("lp_pool1d", "lp_pool2d", "lp_pool3d"),
    "adaptive": (
        *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    ),
    "unpool": ("max_unpool1d", "max_unpool2d", "max_unpool3d", "unpool_bed_of_nails"),
    "resample": ("interpolate",),
    "rearrange": ("pixel_shuffle", "pixel_unshuffle", "depth_to_space", "space_to_depth"),
    "dense": ("linear",),
    "norm": ("batch_norm",),
    "sample_norm": ("layer_norm", "group_norm"),
    "instance": ("instance_norm",),
    "response": ("local_response_norm",),
    "activation": (
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "sigmoid",
        "tanh",
        "silu",
        "hardsigmoid",
        "hardswish",
        "gelu",
    ),  # fmt: skip
    "probabilities": ("softmax", "log_softmax"),
    "classification": ("cross_entropy",),
    "loss": ("mse_loss", "binary_cross_entropy_with_logits", "dice_loss"),
    "noise": ("dropout", "dropout1d", "dropout2d", "dropout3d"),
    "shape": ("flatten",),
    "columns": ("unfold", "fold"),
}

MODULES: dict[str, str] = {
    name: family for family, ops in FAMILIES.items() for op in ops for name in (op, f"{op}_backward")
}

__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    globals()[name] = function  # the next access finds it without a call
    return function


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
