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


def imported(modules: str) -> set[str]:
    """Return the top-level packages of others that a fresh interpreter has loaded after importing modules."""
    code = (
        f"import sys, {modules};"
        "ours = {'trainyard', 'trainyard_predictor', 'numpy', 'msgpack', 'cython_runtime'};"
        "tops = {name.partition('.')[0] for name in sys.modules};"
        "print(*{n for n in tops if n not in sys.stdlib_module_names and n not in ours and not n.startswith('_')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_a_function_imports_numpy_msgpack_and_the_standard_library() -> None:
    """A fresh interpreter that imports the handler, and both functions, has loaded no framework, no server, no SDK."""
    modules = "trainyard_predictor.handler, trainyard_predictor.aws_lambda, trainyard_predictor.poll"
    assert imported(modules) == set()


def test_over_http_there_is_a_server_and_its_parsers_besides() -> None:
    """No framework and no SDK there either."""
    found = imported("trainyard_predictor.web.app, trainyard_predictor.web.worker")
    assert {"gunicorn", "httptools", "msgspec", "uvloop"} <= found
    assert not found & set(FORBIDDEN)


def test_foreign_protocols_wait_until_they_are_asked_for() -> None:
    """Whoever is asked in our own protocol imports neither the others nor the document that describes them."""
    late = [
        "edges.catalogue",
        "openapi",
        "openapi_answers",
        "openapi_protocols",
        "protocols.open_inference",
        "protocols.scoring",
    ]
    code = (
        "import sys, trainyard_predictor.handler, trainyard_predictor.bootstrap, trainyard_predictor.web.app;"
        f"print([name for name in {late!r} if f'trainyard_predictor.{{name}}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
