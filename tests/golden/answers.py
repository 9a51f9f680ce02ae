"""``python answers.py FOLDER``: what the golden models answer here, as JSON. Needs numpy and msgpack only.

Standard output carries ``{"python", "numpy", "models": {name: [outputs of each row]}}``; floats are written so that
they are read back to the same bits.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

from trainyard.model import Predictor, decode, self_test


def main() -> None:
    """Answer the committed rows of every golden model."""
    models = {}
    for path in sorted(Path(sys.argv[1]).glob("*.msgpack")):
        model = decode(path.read_bytes())
        self_test(model)
        lines = path.with_suffix(".ndjson").read_text(encoding="utf-8").splitlines()
        answers = Predictor(model).predict([json.loads(line)["row"] for line in lines])
        models[path.stem] = [
            [a.prediction] if a.probabilities is None else [*a.probabilities.values(), a.prediction] for a in answers
        ]
    json.dump({"python": platform.python_version(), "numpy": np.__version__, "models": models}, sys.stdout)


if __name__ == "__main__":
    main()
