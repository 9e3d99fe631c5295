"""Inventory models: balances, a price and its history in, two range widths out.

>>> from invmm.models import Config, ModelFactory
>>> model = ModelFactory.create_model("SimpleModel", Config(env_file=None, environment={}))
>>> model.get_model_info()["name"]
'Simple'
"""

from .avellaneda_stoikov import AvellanedaStoikovModel
from .base_model import BaseInventoryModel
from .config import Config
from .glft_model import GLFTModel
from .mean_reversion import MeanReversionModel
from .model_factory import ModelFactory
from .simple_model import SimpleModel

__all__ = [
    "AvellanedaStoikovModel",
    "BaseInventoryModel",
    "Config",
    "GLFTModel",
    "MeanReversionModel",
    "ModelFactory",
    "SimpleModel",
]
