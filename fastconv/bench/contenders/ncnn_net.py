"""ncnn, which is made for phones: forward only, one image at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from fastconv.bench.contenders.base import Contender, Runs
from fastconv.bench.rows import Row, operands

MAGIC, FLOAT32 = 7767517, b"\0\0\0\0"  # first line of a network's text; tag of weights that are not compressed


class Ncnn(Contender):
    """A network of one layer. In float32: it would use half precision where the processor has it."""

    form = "prepacked: weights transformed at load"

    def __init__(self, threads: int):
        self.threads, self.version = threads, ncnn.__version__

    def conv2d(self, row: Row) -> Runs:
        """Convolution."""
        x, w, b, _ = operands(row)
        net = self._load(_description(row), w, b)
        images = [ncnn.Mat(image) for image in x]

        def forward() -> list[Any]:
            results = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("x", image)
                results.append(extractor.extract("y")[1])
            return results

        forward.keeps = x  # a Mat borrows the memory of its image
        return {"forward": forward}

    def arrays(self, result: list[Any]) -> list[np.ndarray]:
        """See `Contender`."""
        return [np.stack([np.array(image) for image in result])]

    def _load(self, description: str, w: np.ndarray, b: np.ndarray | None) -> Any:
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            setattr(net.opt, f"use_{name}", False)
        with tempfile.TemporaryDirectory() as folder:
            text, binary = Path(folder, "net.param"), Path(folder, "net.bin")
            text.write_text(description)
            binary.write_bytes(FLOAT32 + w.tobytes() + (b"" if b is None else b.tobytes()))
            if net.load_param(str(text)) or net.load_model(str(binary)):
                raise RuntimeError("ncnn did not load its network")
        return net


def _description(row: Row) -> str:
    """Write the network in ncnn's text format, where a layer's options are numbered."""
    case, window = row.case, row.case.geometry.window
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    (top, bottom), (left, right) = window.padding
    options = {0: case.w[0], 1: kw, 11: kh, 2: dw, 12: dh, 3: sw, 13: sh, 4: left, 14: top, 15: right, 16: bottom}
    options |= {5: int(case.bias), 6: np.prod(case.w)}
    kind = "Convolution"
    if case.groups > 1:
        kind, options[7] = "ConvolutionDepthWise", case.groups
    text = " ".join(f"{key}={value}" for key, value in options.items())
    return f"{MAGIC}\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x y {text}\n"
