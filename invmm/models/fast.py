"""What answers for a model in the engine: its compiled version, or the model itself across a bridge."""

from __future__ import annotations

from typing import Final

from invmm._ext.model_policy import PythonModel
from invmm._ext.models import FastAvellanedaStoikov, FastGLFT, FastMeanReversion, FastModel, FastSimple

from .avellaneda_stoikov import AvellanedaStoikovModel
from .base_model import BaseInventoryModel
from .glft_model import GLFTModel
from .mean_reversion import MeanReversionModel
from .simple_model import SimpleModel

COMPILED: Final[dict[type[BaseInventoryModel], type[FastModel]]] = {
    AvellanedaStoikovModel: FastAvellanedaStoikov,
    GLFTModel: FastGLFT,
    SimpleModel: FastSimple,
    MeanReversionModel: FastMeanReversion,
}


def fast_model(model: BaseInventoryModel) -> FastModel:
    """The compiled version of a model, with its parameters; a bridge to it where there is none: a foreign
    model, a subclass of a built-in one, a window beyond what is compiled.
    """
    compiled = COMPILED.get(type(model))
    try:
        return PythonModel(model) if compiled is None else compiled(model)
    except ValueError:
        return PythonModel(model)
