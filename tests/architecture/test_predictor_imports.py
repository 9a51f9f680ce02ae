"""What the predictor's hot path imports is paid at every cold start."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = (
    "flask",
    "boto3",
    "botocore",
    "sqlalchemy",
    "psycopg2",
    "requests",
    "sklearn",
    "lightgbm",
    "alembic",
    "urllib3",
)


def test_the_hot_path_is_numpy_msgpack_and_the_standard_library() -> None:
    """A fresh interpreter that imports the handler, its edges and the use case has loaded no framework and no SDK."""
    code = (
        "import sys, trainyard_predictor.handler, trainyard_predictor.bootstrap;"
        "import trainyard_predictor.aws_lambda, trainyard_predictor.poll;"
        "ours = {'trainyard', 'trainyard_predictor', 'numpy', 'msgpack', 'cython_runtime'};"
        "tops = {name.partition('.')[0] for name in sys.modules};"
        "others = {n for n in tops if n not in sys.stdlib_module_names and n not in ours and not n.startswith('_')};"
        f"print(sorted(others | (tops & set({FORBIDDEN!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_foreign_protocols_wait_until_they_are_asked_for() -> None:
    """Whoever is asked in our own protocol imports neither the others nor the document that describes them."""
    late = ["edges.catalogue", "openapi", "openapi_protocols", "protocols.open_inference", "protocols.scoring"]
    code = (
        "import sys, trainyard_predictor.handler, trainyard_predictor.bootstrap, trainyard_predictor.web.app;"
        f"print([name for name in {late!r} if f'trainyard_predictor.{{name}}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
