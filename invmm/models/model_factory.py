"""Models by name: those that ship, those registered by call, those of installed packages.

A package offers one with an entry point in the group `invmm.models`, whose name is the model's:

    [project.entry-points."invmm.models"]
    MyModel = "my_package.my_model:MyModel"
"""

from __future__ import annotations

import importlib.metadata
from typing import Any, ClassVar

from invmm.errors import origin_of

from .avellaneda_stoikov import AvellanedaStoikovModel
from .base_model import BaseInventoryModel
from .config import Config
from .glft_model import GLFTModel
from .mean_reversion import MeanReversionModel
from .simple_model import SimpleModel

GROUP = "invmm.models"


class ModelFactory:
    """Makes models by name."""

    _models: ClassVar[dict[str, type[BaseInventoryModel]]] = {
        "AvellanedaStoikovModel": AvellanedaStoikovModel,
        "SimpleModel": SimpleModel,
        "GLFTModel": GLFTModel,
        "MeanReversionModel": MeanReversionModel,
    }
    _broken: ClassVar[dict[str, str]] = {}
    """Entry points that could not be loaded, and why."""
    _searched: ClassVar[bool] = False

    @classmethod
    def create_model(cls, name: str | None = None, config: Any = None) -> BaseInventoryModel:
        """A new model.

        Parameters
        ----------
        name : str, optional
            Name of its class; that of the config's INVENTORY_MODEL if omitted.
        config : object, optional
            What it reads its parameters from; `Config()` if omitted.

        Raises
        ------
        ValueError
            There is none of that name; the text names those there are.
        """
        config = Config() if config is None else config
        name = name or str(getattr(config, "INVENTORY_MODEL", "AvellanedaStoikovModel"))
        return cls._class(name)(config)

    @classmethod
    def get_available_models(cls) -> dict[str, str]:
        """Descriptions by name."""
        cls._search()
        told = {}
        for name in cls._models:
            try:
                told[name] = str(cls.get_model_info(name).get("description", ""))
            except Exception as error:
                told[name] = f"cannot be made with the present parameters: {origin_of(error)}"
        return told | {name: f"cannot be loaded: {why}" for name, why in cls._broken.items()}

    @classmethod
    def broken(cls) -> dict[str, str]:
        """Why each model of an installed package that cannot be loaded cannot."""
        cls._search()
        return dict(cls._broken)

    @classmethod
    def register_model(cls, name: str, model_class: type[BaseInventoryModel]) -> None:
        """Adds a model, in place of one of that name if there is one.

        Raises
        ------
        ValueError
            It is not a subclass of `BaseInventoryModel`.
        """
        if not (isinstance(model_class, type) and issubclass(model_class, BaseInventoryModel)):
            raise ValueError(f"{name}: expected a subclass of BaseInventoryModel, found {model_class!r}")
        cls._models[name] = model_class
        cls._broken.pop(name, None)

    @classmethod
    def get_model_info(cls, name: str, config: Any = None) -> dict[str, Any]:
        """What the model says about itself (`BaseInventoryModel.get_model_info`); ValueError as above."""
        return cls.create_model(name, config).get_model_info()

    @classmethod
    def _class(cls, name: str) -> type[BaseInventoryModel]:
        if name not in cls._models:
            cls._search()
        if name not in cls._models:
            why = cls._broken.get(name)
            raise ValueError(
                f"inventory model: expected one of {', '.join(cls._models)}, found {name!r}"
                + (f" (installed, but it cannot be loaded: {why})" if why else "")
            )
        return cls._models[name]

    @classmethod
    def _search(cls) -> None:
        """Registers the models of installed packages, once; what is registered already stays."""
        if cls._searched:
            return
        cls._searched = True
        for point in importlib.metadata.entry_points(group=GROUP):
            if point.name in cls._models:
                continue
            try:
                cls.register_model(point.name, point.load())
            except Exception as error:
                cls._broken[point.name] = f"{point.value}: {origin_of(error)}"
