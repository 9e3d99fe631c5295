"""`invmm sweep` as a user runs it, over small markets: the same rows from every kind of worker, after a kill,
after Ctrl-C; what is wrong is told before anything runs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from invmm.ops.cli import main as invmm
from invmm.replay.tape import Tape
from invmm.research.ray_crew import LOOPBACK_ONLY
from invmm.research.table import FIGURES, METADATA_KEY, columns_of
from invmm.sim.market import START_S, generate

HAS_RAY = importlib.util.find_spec("ray") is not None
NEEDS_RAY = pytest.mark.skipif(
    not HAS_RAY and not os.environ.get("INVMM_NEED_RAY"), reason="Ray is not installed (the extra `ray`)"
)


def write_market(folder: Path, slug: str, tape: Tape, seconds: float) -> None:
    """The first seconds of a generated market as a recorded one: file, and entry of its list."""
    first_ns, info = int(tape.rows["recv_ns"][0]), tape.market
    lines = []
    for row, frame in zip(tape.rows, tape.frames(), strict=True):
        if int(row["recv_ns"]) <= first_ns + seconds * 1e9:
            lines.append(b'{"recv":%.6f,"src":"gen","frame":%s}' % (int(row["recv_ns"]) / 1e9, frame.strip()))
    (folder / f"{slug}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    listing = folder / "markets.json"
    told = json.loads(listing.read_text()) if listing.exists() else {"origin": "GENERATED", "markets": []}
    told["markets"].append(
        {
            "slug": slug,
            "condition_id": info.condition_id,
            "token_up": info.up_token_id,
            "token_down": info.down_token_id,
            "start": info.start_s,
            "end": info.start_s + 30,  # trading stops 15 s before
            "winner": "Up",
        }
    )
    listing.write_text(json.dumps(told))


@pytest.fixture(scope="module")
def markets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("markets")
    tape = generate(3, start_s=START_S, window_s=90)
    write_market(folder, "small-1", tape, 12)
    write_market(folder, "small-2", tape, 8)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.jsonl")))


def words(markets: Path, out: Path, *more: str) -> list[str]:
    grid = ["--param", "strategy.order_size=20,50", "--param", "conditions.latency_ms=0,50", "--grid"]
    common = ["sweep", "--policy", "inventory_mm:fixed", "--out", str(out), "--markets", *files(markets)]
    return [*common, *(grid if "--param" not in more else []), *more]


def program(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "invmm.ops.cli", *arguments]


@pytest.fixture(scope="module")
def alone(markets, tmp_path_factory) -> Path:
    """What comes of it in one process."""
    out = tmp_path_factory.mktemp("alone") / "rows.parquet"
    assert invmm(words(markets, out, "--seeds", "2", "--jobs", "0", "--quiet")) == 0
    return out


def test_the_file_has_a_row_per_trial_market_and_seed_and_says_how_it_was_made(alone, markets):
    table = pyarrow.parquet.read_table(alone)
    rows = table.to_pylist()
    assert [
        (row["trial"], row["strategy.order_size"], row["conditions.latency_ms"], row["market"], row["seed"])
        for row in rows
    ] == [
        (trial, size, latency, market, seed)
        for trial, (size, latency) in enumerate(((20.0, 0.0), (20.0, 50.0), (50.0, 0.0), (50.0, 50.0)))
        for market in ("small-1", "small-2")
        for seed in (1, 2)
    ]
    assert {row["error"] for row in rows} == {None}
    assert {row["winner"] for row in rows} == {"Up"}
    assert all(row["reconciled"] for row in rows)
    assert sum(row["orders"] for row in rows) > 0
    assert len({row["digest"] for row in rows}) > 4
    told = json.loads(table.schema.metadata[METADATA_KEY])
    assert (told["policy"], told["seeds"], told["objective"]) == (
        "inventory_mm:fixed",
        [1, 2],
        "profit_dollars",
    )
    assert told["parameters"][0] == {"name": "strategy.order_size", "choices": [20.0, 50.0]}
    assert [market["name"] for market in told["markets"]] == ["small-1", "small-2"]
    assert told["code"]["version"]
    assert len(told["code"]["digest"]) == 32
    assert told["settings"]["strategy"]["policy"] == "inventory_mm"


def test_every_figure_of_a_trial_has_a_column_and_a_line_in_the_documents(alone, markets):
    from invmm.replay.trial import play_trial, tape_of

    made = play_trial(tape_of(markets / "small-1.jsonl"), "do_nothing")
    assert set(FIGURES) == set(made) - {"market", "policy", "seed"}
    assert pyarrow.parquet.read_schema(alone).names[3:] == [*columns_of(())][1:]
    text = (Path(__file__).parents[2] / "docs/sweep.md").read_text()
    missing = [name for name in columns_of(()) if f"`{name}`" not in text]
    assert not [name for name in missing if not name.startswith("markout_")]


def test_processes_give_the_same_bytes(alone, markets, tmp_path, capsys):
    out = tmp_path / "rows.parquet"
    assert invmm(words(markets, out, "--seeds", "2", "--jobs", "2", "--json")) == 0
    assert out.read_bytes() == alone.read_bytes()
    told = json.loads(capsys.readouterr().out)
    assert (told["trials"], told["rows"], told["failed"], told["played"]) == (4, 16, 0, 16)
    assert len(told["ranked"]) == 4
    rows = pyarrow.parquet.read_table(out).to_pylist()
    for one in told["ranked"]:
        profits = [row["profit_dollars"] for row in rows if row["trial"] == one["trial"]]
        assert one["value"] == pytest.approx(sum(profits) / 4)


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(True, head_node_args={"num_cpus": 2, "include_dashboard": False,
                                        "object_store_memory": 100 << 20})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@NEEDS_RAY
def test_a_ray_cluster_gives_the_same_bytes(alone, markets, tmp_path):
    out = tmp_path / "rows.parquet"
    environment = {**os.environ, LOOPBACK_ONLY: "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as cluster:
        try:
            address = cluster.stdout.readline().strip()
            arguments = words(markets, out, "--seeds", "2", "--ray", address, "--json")
            done = subprocess.run(
                program(arguments), capture_output=True, text=True, timeout=240, env=environment
            )
        finally:
            cluster.stdin.close()
            cluster.wait(60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["played"] == 16
    assert out.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_was_stopped_goes_on_and_ends_the_same(alone, markets, tmp_path, how, capsys):
    out, kept = tmp_path / "rows.parquet", tmp_path / "rows.parquet.jsonl"
    arguments = words(markets, out, "--seeds", "2", "--jobs", "1", "--json")
    with subprocess.Popen(
        program(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 200
        while not (kept.exists() and kept.read_bytes().count(b"\n") > 2):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        # A kill is for one process, Ctrl-C goes to all of a terminal.
        (os.kill if how == signal.SIGKILL else os.killpg)(process.pid, how)
        told, complaint = process.communicate(timeout=200)  # ends when no worker holds its output any more
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert not out.exists()
    if how == signal.SIGINT:
        assert "Traceback" not in complaint
        assert complaint.rstrip().endswith("--resume")
        assert json.loads(told)["interrupted"] is True
    assert invmm([*words(markets, out, "--seeds", "2", "--jobs", "0", "--json"), "--resume"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 2 <= result["reused"] < 16
    assert result["reused"] + result["played"] == 16
    assert out.read_bytes() == alone.read_bytes()


def test_rows_that_fail_are_named_and_the_exit_code_says_so(markets, tmp_path, capsys):
    (folder := tmp_path / "markets").mkdir()
    for path in markets.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with (folder / "small-2.jsonl").open("ab") as file:
        file.write(b'{"recv":1}\n')
    out = tmp_path / "rows.parquet"
    code = invmm(words(folder, out, "--param", "strategy.order_size=20", "--grid", "--jobs", "0", "--json"))
    assert code == 1
    told = capsys.readouterr()
    (failure,) = json.loads(told.out)["failures"]
    assert (failure["market"], failure["parameters"]) == ("small-2", {"strategy.order_size": 20.0})
    assert "small-2.jsonl" in failure["error"]
    assert "trial 0 (strategy.order_size=20.0) on small-2, seed 1: DataError" in told.err
    rows = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["error"] is None for row in rows] == [True, False]
    assert rows[1]["profit_dollars"] is None


@pytest.mark.parametrize(
    ("changed", "words_told"),
    [
        ({"--policy": "paris"}, "policy: expected one of do_nothing, join_touch"),
        ({"--param": "strategy.order_size=1"}, "order_size: expected 5…100000 shares, found 1.0"),
        ({"--param": "strategy.order_size=10:20"}, "expected values (a,b,c or low:high:N) for --grid"),
        ({"--markets": "no/such/folder"}, "no/such/folder: no such file or folder"),
        ({"--markets": "generated:0"}, "expected generated:N with N of at least 1, found 'generated:0'"),
        ({"--markets": "generated:many"}, "expected generated:N"),
        ({"--markets": "generated:2", "--first-seed": "999999"}, "later ones are kept to decide"),
        ({"--markets": "generated:2 generated:1"}, "expected each market once, found generated:1"),
        ({"--seeds": "0"}, "--seeds: expected at least 1, found 0"),
        ({"--jobs": "-1"}, "--jobs: expected at least 0, found -1"),
        ({"--objective": "profit"}, "--objective: expected one of"),
        ({"--out": "rows.csv"}, "--out: expected a name that ends in .parquet, found 'rows.csv'"),
        ({"--out": "no/such/rows.parquet"}, "--out: expected the folder no/such to be there"),
        ({"--config": "no-such.toml"}, "no-such.toml"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    changed, words_told, markets, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = {
        "--policy": "simple",
        "--param": "strategy.order_size=20",
        "--markets": "generated:1",
        "--out": "rows.parquet",
    } | changed
    values = {name: text.split() for name, text in options.items()}
    arguments = [word for name, more in values.items() for word in (name, *more)]
    assert invmm(["sweep", *arguments, "--grid"]) == 2
    told = capsys.readouterr()
    assert words_told in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_of_a_folder_the_later_half_is_held_back(markets, tmp_path, capsys):
    out = tmp_path / "rows.parquet"
    arguments = [
        "sweep",
        "--policy",
        "do_nothing",
        "--param",
        "strategy.order_size=20",
        "--grid",
        "--jobs",
        "0",
    ]
    assert invmm([*arguments, "--json", "--out", str(out), "--markets", str(markets)]) == 0
    told = capsys.readouterr()
    assert "the later 1 of the recorded markets are held back" in told.err
    assert (json.loads(told.out)["markets"], json.loads(told.out)["held_back"]) == (1, 1)
    assert pyarrow.parquet.read_table(out).column("market").to_pylist() == ["small-1"]


def test_an_out_file_that_is_there_is_not_written_over(alone, markets, capsys):
    before = alone.read_bytes()
    assert invmm(words(markets, alone, "--seeds", "2")) == 2
    assert "--resume goes on with it, removing it begins anew" in capsys.readouterr().err
    assert alone.read_bytes() == before


@NEEDS_RAY
@pytest.mark.parametrize(
    ("address", "words_told"),
    [
        ("somewhere", "expected local, auto or host:port"),
        ("127.0.0.1:1", "127.0.0.1:1: expected a cluster at "),
    ],
)
def test_a_cluster_that_is_not_there_is_told_at_once(address, words_told, markets, tmp_path, capsys):
    for _ in range(2):  # it leaves nothing behind that would be in the way
        assert invmm(words(markets, tmp_path / "rows.parquet", "--ray", address)) == 2
        assert words_told in capsys.readouterr().err


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_way_to_get_it_is_told(markets, tmp_path, capsys):
    assert invmm(words(markets, tmp_path / "rows.parquet", "--ray", "local")) == 2
    assert "pip install 'invmm[ray]'" in capsys.readouterr().err
