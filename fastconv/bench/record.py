"""The comparison as JSON: what was measured, where, by which versions, and every run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv.bench.rounds import Result
from fastconv.bench.summary import BEST, fastest, ratio, summarise


def write_json(path: Path, about: dict[str, Any], results: Sequence[Result], peers: Sequence[str]) -> None:
    """Write everything that was found.

    Parameters
    ----------
    path : Path
    about : dict
        Machine, options, versions, peers that are missing.
    results : sequence of Result
    peers : sequence of str
        Who took part.
    """
    summary = [dataclasses.asdict(line) for line in summarise(results, peers)]
    document = about | {"rows": [_entry(result) for result in results], "summary": summary}
    path.write_text(json.dumps(_finite(document), indent=1, default=str) + "\n", encoding="utf-8")


def _entry(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "row": row.name,
        "kind": row.kind,
        "pass": result.step,
        "arguments": dataclasses.asdict(row.case),
        "milliseconds": {name: seconds * 1e3 for name, seconds in result.seconds.items()},
        "best_peer": fastest(result, BEST),
        "ratio": ratio(result, BEST),
        "errors": result.errors,
        "refused": result.refused,
        "runs": {name: [round(seconds * 1e3, 6) for seconds in times] for name, times in result.times.items()},
    }


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by their names."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
