"""`invmm lane` shows what the lane's journal says, and lets a halted lane go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from invmm.ops.cli import main
from invmm.settings import SettlementSettings
from invmm.settlement.chain import ChainLane
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.record import SettlementRecord
from tests.unit.fake_chain import ACCOUNT, Signer, merge_job, merge_logs
from tests.unit.lane_rig import Rig


class FileRig(Rig):
    """The rig with a journal on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__()

    def start(self) -> None:
        journal = LaneJournal(self.folder / "lane")
        settings = SettlementSettings(head_max_age_s=0.0)
        self.lane = ChainLane(self.nodes, Signer(), journal, settings=settings, clock=self.clock)


@pytest.fixture
def rig(tmp_path: Path) -> FileRig:
    rig = FileRig(tmp_path)
    for name, paid in (("good", 25_000_000), ("odd", 24_000_000)):
        rig.chain.logs = lambda _, paid=paid: merge_logs(paid=paid)
        rig.lane.submit(merge_job(name))
        rig.advance()
        rig.chain.mine()
        rig.chain.finalize()
        rig.advance()
    return rig


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["lane", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_shows_how_jobs_ended_and_why_the_lane_halted_while_it_is_in_use(
    rig: FileRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--state", str(tmp_path), "--json")
    told = json.loads(out)
    assert code == 1
    assert (told["account"], told["chain_id"], told["next_nonce"]) == (ACCOUNT, 137, 2)
    assert [(job["name"], job["state"]) for job in told["jobs"]] == [("good", "final"), ("odd", "final")]
    assert "expected a change of 25000000, found 24000000" in told["halted"]
    code, out, _ = run(capsys, "--state", str(tmp_path), "--last", "1")
    assert code == 1
    assert "HALTED: odd" in out
    assert "good" not in out.replace(told["halted"], "")
    rig.lane.close()


def test_a_halted_lane_goes_on_when_a_person_says_so_and_not_under_a_running_engine(
    rig: FileRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "--state", str(tmp_path), "--resume")
    assert (code, "no other lane" in err) == (2, True)
    rig.lane.close()
    code, out, _ = run(capsys, "--state", str(tmp_path), "--resume")
    assert (code, "resumed; it was halted: odd" in out) == (0, True)
    rig.start()
    rig.lane.submit(merge_job("next"))
    rig.advance()
    code, out, _ = run(capsys, "--state", str(tmp_path), "--json")
    assert code == 0
    (job,) = [job for job in json.loads(out)["jobs"] if job["name"] == "next"]
    assert [one["transaction"] for one in job["in_flight"]] == [job["transaction"]]
    rig.lane.close()


def test_a_settlement_that_stopped_goes_on_when_a_person_says_so(
    rig: FileRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.lane.resume()
    rig.lane.close()
    record = SettlementRecord(LaneJournal(tmp_path / "settled"))
    record.stop("merge:1 moved something else")
    record.close()
    code, out, _ = run(capsys, "--state", str(tmp_path), "--json")
    assert (code, json.loads(out)["stopped"]) == (1, "merge:1 moved something else")
    code, out, _ = run(capsys, "--state", str(tmp_path), "--resume")
    assert (code, "settlement goes on; it had stopped: merge:1" in out) == (0, True)
    code, out, _ = run(capsys, "--state", str(tmp_path), "--json")
    assert (code, json.loads(out)["stopped"]) == (0, "")


def test_a_folder_without_a_lane_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "--state", str(tmp_path))
    assert (code, "nothing was sent from here" in err) == (2, True)
    journal = LaneJournal(tmp_path / "lane")
    journal.append({"is": "job"})
    journal.close()
    code, _, err = run(capsys, "--state", str(tmp_path))
    assert (code, "expected it to begin with its account" in err) == (2, True)
