"""Fitted models of scikit-learn, LightGBM, XGBoost and CatBoost made into models of Trainyard (docs/import.md)."""

from trainyard_convert.catboost_json import from_catboost
from trainyard_convert.converted import Converted
from trainyard_convert.errors import ConversionError, MissingLibraryError
from trainyard_convert.files import from_file
from trainyard_convert.lightgbm_text import from_lightgbm
from trainyard_convert.models import Imported, bare_model, model_of
from trainyard_convert.parity import Parity, check_parity
from trainyard_convert.sklearn_models import from_sklearn
from trainyard_convert.xgboost_json import from_xgboost

__all__ = [
    "ConversionError",
    "Converted",
    "Imported",
    "MissingLibraryError",
    "Parity",
    "bare_model",
    "check_parity",
    "from_catboost",
    "from_file",
    "from_lightgbm",
    "from_sklearn",
    "from_xgboost",
    "model_of",
]
