"""Models that were written for AsymmetricLP run here unchanged: by its four steps, and in the engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import invmm.models
from invmm.models import BaseInventoryModel, MeanReversionModel, ModelFactory
from invmm.models.avellaneda_stoikov import AvellanedaStoikovModel
from invmm.ops import cli
from invmm.types import CommandKind, OrderStatus, Reason
from tests.unit.test_step import Desk

# The example of that system's description, as it stands there.
MEAN_REVERSION = """\
class MeanReversionModel(BaseInventoryModel):
    def __init__(self, config):
        super().__init__(config)
        self.mean_reversion_strength = 0.5
        self.lookback_period = 20

    def calculate_lp_ranges(self, token0_balance, token1_balance, spot_price,
                           price_history, token_a_address, token_b_address, client):
        # Calculate mean price over lookback period
        if len(price_history) >= self.lookback_period:
            recent_prices = [p['price'] for p in price_history[-self.lookback_period:]]
            mean_price = sum(recent_prices) / len(recent_prices)

            # Calculate deviation from mean
            price_deviation = abs(spot_price - mean_price) / mean_price

            # Adjust ranges based on mean reversion
            base_range = 0.05
            if price_deviation > 0.1:  # Price far from mean
                range_multiplier = 1 + self.mean_reversion_strength * price_deviation
            else:  # Price close to mean
                range_multiplier = 1 - self.mean_reversion_strength * price_deviation

            range_a = base_range * range_multiplier
            range_b = base_range * range_multiplier

            return {
                'range_a_percentage': range_a * 100.0,
                'range_b_percentage': range_b * 100.0,
                'inventory_ratio': 0.5,  # Assume balanced for simplicity
                'target_ratio': 0.5,
                'deviation': 0.0,
                'volatility': self.calculate_volatility(price_history),
                'model_metadata': {
                    'model_name': self.model_name,
                    'mean_reversion_strength': self.mean_reversion_strength,
                    'price_deviation': price_deviation
                }
            }
"""

# By the steps of the description: a file beside the others, with a parameter of its own.
MY_MODEL = """\
from .base_model import BaseInventoryModel

class MyModel(BaseInventoryModel):
    def __init__(self, config):
        super().__init__(config)
        self.width = getattr(self.config, 'MY_PARAM', 0.03)

    def calculate_lp_ranges(self, token0_balance, token1_balance, spot_price,
                           price_history, token_a_address, token_b_address, client):
        if not self.validate_inputs(token0_balance, token1_balance, spot_price, price_history):
            return None
        ratio = self.calculate_inventory_ratio(
            token0_balance, token1_balance, spot_price, token_a_address, token_b_address, client)
        return {
            'range_a_percentage': self.width * 100.0,
            'range_b_percentage': self.width * (1 + ratio) * 100.0,
            'inventory_ratio': ratio,
            'target_ratio': 0.5,
            'deviation': abs(ratio - 0.5),
            'volatility': self.calculate_volatility(price_history),
            'model_metadata': {'model_name': self.model_name, 'width': self.width},
        }

    def get_model_info(self):
        return {'name': 'My Model', 'description': 'one width', 'version': '1.0.0',
                'parameters': {'width': self.width}, 'features': ['width']}
"""

PROGRAM = """\
import json
from models import ModelFactory
from config import Config

config = Config()
model = ModelFactory.create_model(config.INVENTORY_MODEL, config)
class Client:
    def get_token_decimals(self, address):
        return 6
ranges = model.calculate_lp_ranges(75_000_000, 25_000_000, 1.0, [], '0xA', '0xB', Client())
print(json.dumps([model.get_model_info(), ranges, ModelFactory.get_available_models()['MyModel']]))
"""


@pytest.fixture
def factory(monkeypatch):
    """The factory, as it is in a new process."""
    monkeypatch.setattr(ModelFactory, "_models", dict(ModelFactory._models))
    monkeypatch.setattr(ModelFactory, "_broken", {})
    monkeypatch.setattr(ModelFactory, "_searched", False)
    return ModelFactory


def example() -> type[BaseInventoryModel]:
    names = {"BaseInventoryModel": BaseInventoryModel, "__name__": "theirs"}
    exec(MEAN_REVERSION, names)
    return names["MeanReversionModel"]


def test_the_four_steps_of_the_description_add_a_model(tmp_path):
    models = tmp_path / "models"
    shutil.copytree(Path(invmm.models.__file__).parent, models, ignore=shutil.ignore_patterns("__pycache__"))
    (models / "my_model.py").write_text(MY_MODEL)  # step 1
    text = (models / "model_factory.py").read_text()  # step 2
    text = text.replace("\nGROUP =", "\nfrom .my_model import MyModel\nGROUP =", 1)
    text = text.replace(
        '"SimpleModel": SimpleModel,\n', "\"SimpleModel\": SimpleModel, 'MyModel': MyModel,\n", 1
    )
    (models / "model_factory.py").write_text(text)
    text = (models / "__init__.py").read_text()  # step 3
    (models / "__init__.py").write_text(text + "\nfrom .my_model import MyModel\n__all__ += ['MyModel']\n")
    (tmp_path / ".env").write_text("INVENTORY_MODEL=MyModel\nMY_PARAM=0.04\n")  # step 4
    (tmp_path / "config.py").write_text("from models.config import Config\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    root = str(Path(invmm.__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if name != "INVENTORY_MODEL"}
    told = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    info, ranges, description = json.loads(told.stdout)
    assert (info["name"], info["parameters"], description) == ("My Model", {"width": 0.04}, "one width")
    assert (ranges["range_a_percentage"], ranges["range_b_percentage"]) == (4.0, 0.04 * 1.75 * 100.0)
    assert (ranges["inventory_ratio"], ranges["volatility"]) == (0.75, 0.02)


def test_the_example_of_the_description_answers_as_ours_does(factory):
    factory.register_model("Theirs", example())
    assert factory.get_available_models()["Theirs"] == "no description"
    theirs = factory.create_model("Theirs", SimpleNamespace())
    ours = MeanReversionModel(SimpleNamespace())
    history = [{"price": 0.25 + 0.25 * (n % 2)} for n in range(24)]
    client = SimpleNamespace(get_token_decimals=lambda _address: 6)
    for spot in (0.375, 0.39, 0.5):
        asked = (10, 10, spot, history, "0xA", "0xB", client)
        assert theirs.calculate_lp_ranges(*asked) == ours.calculate_lp_ranges(*asked)
    assert theirs.calculate_lp_ranges(10, 10, 0.5, history[:19], "0xA", "0xB", client) is None


ANSWERS = {CommandKind.PLACE: OrderStatus.LIVE, CommandKind.CANCEL: OrderStatus.CANCELED}


def walked(text="", seconds=40):
    """An engine that saw a new book twice a second; its commands and its reasons, frame by frame."""
    desk = Desk(text)
    commands, reasons = [], []
    for number in range(2 * seconds):
        bid = 4_900 + 100 * (7 * number % 11 - 5)  # another one each time
        bids, asks = {bid: 100, bid - 100: 100}, {bid + 200: 100, bid + 300: 100}
        commands.append(desk.open(500 * number, bids, asks))
        for wait_ms in (10, 20, 30):  # what the answers lead to is answered, too
            answered = [desk.answer(c, ANSWERS[int(c["kind"])], 500 * number + wait_ms) for c in commands[-1]]
            commands.append(np.concatenate([commands[-1][:0], *answered]))
        reasons.append(desk.reasons)
    return np.concatenate(commands), reasons, desk.market.step.stats()["policy"]


def test_the_example_trades_once_its_history_is_long_enough(factory, tmp_path, monkeypatch):
    factory.register_model("Theirs", example())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVENTORY_MODEL", raising=False)
    (tmp_path / ".env").write_text("INVENTORY_MODEL=Theirs\n")
    commands, reasons, counted = walked('[strategy]\npolicy = "model"\n')
    assert (counted["model"], counted["last_error"]) == ("MeanReversionModel", None)
    # A sample a second: the twentieth is complete after 20 s, with the fortieth book and the one after it.
    assert reasons[:40] == [(Reason.MODEL_NO_RESULT, Reason.MODEL_NO_RESULT)] * 40
    assert not any(Reason.MODEL_NO_RESULT in pair for pair in reasons[40:])
    assert (commands["kind"] == CommandKind.PLACE).any()


def test_an_installed_package_brings_a_model(factory, tmp_path, monkeypatch, capsys):
    (tmp_path / "their_models.py").write_text(
        "from invmm.models import BaseInventoryModel, ModelFactory\n\n\n" + MEAN_REVERSION
    )
    about = tmp_path / "their_models-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-models\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[invmm.models]\nTheirs = their_models:MeanReversionModel\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INVENTORY_MODEL", "Theirs")
    assert cli.main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    row = next(row for row in told["models"] if row["chosen"])
    assert (row["model"], row["policy"], row["compiled"], row["error"]) == ("Theirs", "model", False, None)
    sys.modules.pop("their_models")


def test_the_engine_does_the_same_with_a_compiled_model_as_with_the_python_one(factory):
    """A subclass is asked itself, so the same numbers come through Python."""
    factory.register_model("Slow", type("Slow", (AvellanedaStoikovModel,), {}))
    text = '[strategy]\npolicy = "model"\n[model.params]\nINVENTORY_MODEL = "{}"\n'
    fast_commands, fast_reasons, fast = walked(text.format("AvellanedaStoikovModel"))
    slow_commands, slow_reasons, slow = walked(text.format("Slow"))
    assert fast["asked"] >= 80
    assert len(fast_commands) > 100
    assert fast_commands.tobytes() == slow_commands.tobytes()
    assert fast_reasons == slow_reasons
    assert {**fast, "model": "Slow"} == slow
