"""Commands on jobs, on a real database."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import common
from gateway.cli.main import commands
from gateway.config.load import load
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.runtime.jobs import keep_jobs
from tests.unit.cli.conftest import NIGHTLY, Cli


def names(cli: Cli, *words: str) -> list[str]:
    return [job["name"] for job in cli.json("jobs", "list", *words)["jobs"]]


def status(cli: Cli, job: str = "nightly") -> str:
    found: str = cli.json("jobs", "show", job)["job"]["status"]
    return found


def take_over(cli: Cli) -> None:
    """Make jobs, groups and periods what the configuration says, as a running gateway does."""

    async def sync() -> None:
        settings = load(cli.config, {})
        async with open_store(settings.store, settings.data, use=Use.RUN) as store:
            await keep_jobs(store, settings)

    asyncio.run(sync())


def test_a_job_is_made_from_a_section_and_withheld(nightly: Cli) -> None:
    found = nightly.json("jobs", "show", "nightly")
    assert found["job"]["status"] == "withhold"
    assert (found["job"]["owner"], found["job"]["source"]) == ("ann", "operator")
    assert found["job"]["repeats"] == "every day at 02:00 Europe/Copenhagen"
    assert [task["name"] for task in found["definition"]["tasks"]] == ["export", "tell", "undo"]


def test_a_job_is_made_from_standard_input_and_released(cli: Cli, as_ann: None) -> None:
    words = ["jobs", "create", "nightly", "-", "--release", "--config", str(cli.config)]
    result = CliRunner().invoke(commands(), words, input=NIGHTLY.encode())
    assert result.exit_code == 0, result.output
    assert status(cli) == "waiting"


def test_mistakes_are_told_with_the_line_of_the_section(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(NIGHTLY.replace("after: export", "after: exprt").replace("run: command", "run: comand", 1))
    result = cli.run("jobs", "create", "nightly", str(file))
    assert result.exit_code == 1
    assert (
        f"{file}:6: tasks.export.run: There is nothing named 'comand' to run; did you mean 'command'?" in result.stderr
    )
    assert f"{file}:7: tasks.tell.after.exprt: there is no task 'exprt'; did you mean 'export'?" in result.stderr
    assert names(cli) == []


def test_a_section_that_cannot_be_read_is_a_known_error(cli: Cli) -> None:
    result = cli.run("jobs", "create", "nightly", "nowhere.yaml")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        1,
        "nowhere.yaml: cannot be read: No such file or directory",
    )


def test_a_name_is_given_once(nightly: Cli, tmp_path: Path) -> None:
    result = nightly.run("jobs", "create", "nightly", str(tmp_path / "nightly.yaml"))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: a job named nightly exists already in partition initial")


def test_what_is_shown_as_a_section_can_be_edited(nightly: Cli, tmp_path: Path) -> None:
    section = nightly.run("jobs", "show", "nightly", "--yaml").stdout
    assert "${NAME:-x}" in section
    file = tmp_path / "again.yaml"
    file.write_text(section.replace("every: 1 day", "every: 2 weeks"))
    assert nightly.run("jobs", "edit", "nightly", str(file)).exit_code == 0
    found = nightly.json("jobs", "show", "nightly")
    assert found["job"]["repeats"] == "every second week on Tuesday at 02:00 Europe/Copenhagen"
    assert (found["job"]["status"], found["job"]["owner"]) == ("withhold", "ann")


def test_next_starts_are_previewed(nightly: Cli) -> None:
    found = nightly.json("jobs", "next", "nightly", "-n", "2")
    assert found["starts"] == ["2030-01-01T01:00:00Z", "2030-01-02T01:00:00Z"]
    shown = nightly.run("jobs", "next", "nightly").stdout
    assert "every day at 02:00 Europe/Copenhagen" in shown
    assert "it starts only once it is released" in shown
    assert "Tue 2030-01-01 02:00:00" in shown


def test_starts_lie_in_the_active_period(nightly: Cli, tmp_path: Path) -> None:
    with nightly.config.open("a") as file:
        file.write("active_periods: {office: {from: '08:00', to: '18:00', on: [wednesday]}}\n")
    take_over(nightly)
    section = tmp_path / "office.yaml"
    section.write_text("active_period: office\n" + nightly.run("jobs", "show", "nightly", "--yaml").stdout)
    assert nightly.run("jobs", "edit", "nightly", str(section)).exit_code == 0

    # Due on Tuesday at two in the night in Copenhagen: late, once, when the period opens on Wednesday.
    expected = ["2030-01-02T08:00:00Z", "2030-01-09T08:00:00Z"]
    assert nightly.json("jobs", "next", "nightly", "-n", "2")["starts"] == expected
    assert "only in the active period office" in nightly.run("jobs", "next", "nightly").stdout
    assert nightly.json("jobs", "release", "nightly")["job"]["next_start"] == expected[0]
    assert {job["name"]: job["next_start"] for job in nightly.json("jobs", "list")["jobs"]}["nightly"] == expected[0]


def test_a_job_is_released_held_cancelled_and_deleted(nightly: Cli) -> None:
    assert nightly.json("jobs", "release", "nightly")["job"]["next_start"] == "2030-01-01T01:00:00Z"
    assert nightly.run("jobs", "hold", "nightly").exit_code == 0
    assert status(nightly) == "withhold"
    nightly.run("jobs", "release", "nightly")
    nightly.run("jobs", "cancel", "nightly")
    assert status(nightly) == "canceled"
    assert nightly.run("jobs", "delete").exit_code == 2
    assert nightly.json("jobs", "delete", "--status", "ended") == {"deleted": []}
    unasked = nightly.run("jobs", "delete", "--status", "canceled")
    assert unasked.exit_code == 1 and "--yes does it without asking" in unasked.stderr
    assert nightly.json("jobs", "delete", "--status", "canceled", "--yes") == {"deleted": ["nightly"]}
    assert names(nightly) == []


def test_a_refusal_names_the_status_and_what_is_possible(nightly: Cli) -> None:
    result = nightly.run("jobs", "hold", "nightly")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Job 'nightly' is on hold: it cannot be put on hold. Possible now: release, delete.\n"
    )


def test_an_unknown_job_is_told_with_the_nearest_name(nightly: Cli) -> None:
    result = nightly.run("jobs", "show", "nightli")
    assert result.stderr == "Error: there is no job 'nightli' in the partition initial; did you mean 'nightly'?\n"


def test_a_copy_is_withheld_and_belongs_to_who_made_it(nightly: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "account_of", lambda _: "ben")
    assert nightly.json("jobs", "copy", "nightly", "copy")["job"]["owner"] == "ben"
    assert names(nightly, "--mine") == ["copy"]
    assert names(nightly) == ["copy", "nightly"]


def test_with_mine_others_do_not_exist(nightly: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "account_of", lambda _: "ben")
    result = nightly.run("jobs", "release", "nightly", "--mine")
    assert (result.exit_code, status(nightly)) == (1, "withhold")
    assert result.stderr.startswith("Error: there is no job 'nightly' of ben in the partition initial")
    for command in ("cancel", "delete"):
        assert nightly.run("jobs", command, "nightly", "--mine").exit_code == 1
    monkeypatch.setattr(common, "account_of", lambda _: "ann")
    result = nightly.run("jobs", "release", "nightly", "--mine")
    assert (result.exit_code, status(nightly)) == (0, "waiting")


def test_private_jobs_are_their_owners_alone(nightly: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "private.yaml"
    file.write_text(NIGHTLY + "private: true\n")
    nightly.run("jobs", "create", "secret", str(file))
    assert names(nightly) == ["nightly", "secret"]
    monkeypatch.setattr(common, "account_of", lambda _: "ben")
    assert names(nightly) == ["nightly"]
    assert nightly.run("jobs", "show", "secret").exit_code == 1


def test_partitions_do_not_see_one_another(nightly: Cli, tmp_path: Path) -> None:
    assert names(nightly, "--partition", "other") == []
    file = str(tmp_path / "nightly.yaml")
    assert nightly.run("jobs", "create", "nightly", file, "--partition", "other").exit_code == 0
    assert names(nightly, "--partition", "other") == ["nightly"]
    assert nightly.json("jobs", "show", "nightly", "--partition", "other")["job"]["partition"] == "other"


def test_accounts_close_partitions_and_refuse_owners(nightly: Cli, tmp_path: Path) -> None:
    with nightly.config.open("a") as file:
        file.write("accounts: {ann: {partitions: [initial]}}\n")
    result = nightly.run("jobs", "list", "--partition", "other")
    assert result.stderr == "Error: the account ann has no access to the partition other; it has: initial\n"
    section = tmp_path / "of-ben.yaml"
    section.write_text(NIGHTLY + "owner: ben\n")
    result = nightly.run("jobs", "create", "of-ben", str(section))
    assert "owner: there is no account 'ben'; known are ann" in result.stderr


def test_jobs_of_the_configuration_are_edited_there(cli: Cli, as_ann: None, tmp_path: Path) -> None:
    with cli.config.open("a") as file:
        file.write("jobs: {fixed: {tasks: {a: {run: command, with: {command: ['true']}}}}}\n")

    take_over(cli)
    assert [(job["name"], job["source"]) for job in cli.json("jobs", "list")["jobs"]] == [
        ("fixed", "config"), ("gateway", "config"), ("housekeeping", "config"),
    ]  # fmt: skip
    section = tmp_path / "fixed.yaml"
    section.write_text(cli.run("jobs", "show", "fixed", "--yaml").stdout)
    told = "Error: the job fixed stands in the configuration: "
    assert cli.run("jobs", "edit", "fixed", str(section)).stderr.startswith(told + "edit its section there")
    assert cli.run("jobs", "delete", "fixed", "--yes").stderr.startswith(told + "take its section away there")
    assert cli.run("jobs", "hold", "fixed").exit_code == 0


def test_times_are_shown_in_the_zone_of_the_account(nightly: Cli) -> None:
    with nightly.config.open("a") as file:
        file.write("accounts: {ann: {zone: Asia/Tokyo}}\n")
    assert nightly.json("jobs", "release", "nightly")["job"]["next_start"] == "2030-01-01T01:00:00Z"
    assert "2030-01-01 10:00:00 JST" in nightly.run("jobs", "show", "nightly").stdout
