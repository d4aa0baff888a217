"""Many messages at once on the command line: chosen, shown, asked for, written down."""

import json

import pytest

from tests.unit.cli.conftest import FAILED_ID, Cli

pytestmark = pytest.mark.usefixtures("history", "as_ann")


def statuses(cli: Cli) -> list[str]:
    return [message["status"] for message in cli.json("queue", "list")["messages"]]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("delete", str(FAILED_ID)), "schema"),
        (("delete", "--status", "error"), "schema"),
        (("release", "--port", "orders"), "schema"),
        (("hold", "--since", "1h"), "ready"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_undone_and_what_was_chosen_is_shown_and_changed_only_when_confirmed(
    cli: Cli, words: tuple[str, ...], shown: str
) -> None:
    before = statuses(cli)
    result = cli.run("queue", *words)
    assert result.exit_code == 1
    assert shown in result.stdout and "--yes does it without asking" in result.stderr
    assert statuses(cli) == before
    assert cli.json("audit")["actions"] == []
    assert cli.run("queue", *words, "--yes").exit_code == 0
    assert statuses(cli) != before


@pytest.mark.parametrize("agreed", [True, False])
def test_person_at_a_terminal_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch, agreed: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda question: asked.append(question) or agreed)
    monkeypatch.setattr("gateway.cli.common.at_terminal", lambda: True)
    cli.run("queue", "release", "--status", "error")
    assert asked == ["Release 1 message?"]
    assert statuses(cli)[0] == ("ready" if agreed else "error")


def test_one_message_is_released_without_a_question(cli: Cli) -> None:
    assert "released" in cli.run("queue", "release", str(FAILED_ID)).stdout
    assert statuses(cli) == ["ready", "ready", "malformed"]


def test_only_what_the_command_can_change_is_chosen(cli: Cli) -> None:
    deleted = cli.json("queue", "delete", "--port", "orders", "--yes")["deleted"]
    assert len(deleted) == 2, "the waiting one stays"
    assert cli.json("queue", "retry", "--port", "orders") == {"retried": [], "left": []}


@pytest.mark.parametrize("words", [(), (str(FAILED_ID), "--port", "orders")], ids=["neither", "both"])
def test_messages_are_named_or_chosen(cli: Cli, words: tuple[str, ...]) -> None:
    result = cli.run("queue", "release", *words)
    assert result.exit_code == 2 and "name messages, or choose them" in result.output


def test_operators_action_is_written_down(cli: Cli) -> None:
    (number,) = cli.json("queue", "release", str(FAILED_ID), "--reason", "schema of June")["released"]
    (action,) = cli.json("audit", "--message", str(number))["actions"]
    assert (action["actor"], action["action"], action["reason"]) == ("ann", "queue.release", "schema of June")
    assert (action["first_messages"], action["outcome"]) == ([number], "done")
    shown = cli.run("audit", "--action", "queue.*").stdout
    assert "ann" in shown and "schema of June" in shown
    assert "No such action" in cli.run("audit", "--who", "ben").stdout


def test_lists_say_when_they_are_cut_and_count_by_cause(cli: Cli) -> None:
    assert "1 of 3 are shown" in cli.run("queue", "list", "--limit", "1").stdout
    assert cli.json("queue", "list", "--limit", "1")["total"] == 3
    causes = cli.json("queue", "list", "--by-cause")["causes"]
    assert {(cause["reason"], cause["code"], cause["messages"]) for cause in causes} == {
        ("failed", "schema", 1), ("ready", None, 1), ("malformed", "dtd.forbidden", 1),
    }  # fmt: skip
    first = cli.run("history", "list", "--limit", "1").stdout
    assert "--before" in first
    outcomes = cli.json("history", "list", "--by-cause")["outcomes"]
    assert {(one["direction"], one["outcome"], one["messages"]) for one in outcomes} == {
        ("in", "processed", 1), ("out", "sent", 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "number"),
    [(("--status", "sent"), 1), (("--file", "batch*"), 2), (("--since", "1h"), 2), (("--until", "2020-01-01"), 0),
     (("--code", "schema"), 0), (("--user", "nobody"), 0)],
    ids=str,
)  # fmt: skip
def test_history_is_filtered(cli: Cli, words: tuple[str, ...], number: int) -> None:
    assert len(cli.json("history", "list", *words)["messages"]) == number
    counted = cli.json("history", "list", "--by-cause", *words)["outcomes"]
    assert sum(one["messages"] for one in counted) == number


@pytest.mark.parametrize(
    ("words", "codes"),
    [((), ["dtd.forbidden", "schema"]), (("--code", "schema"), ["schema"]), (("--file", "bad*"), ["dtd.forbidden"]),
     (("--severity", "warning"), []), (("--since", "1h"), ["dtd.forbidden", "schema"])],
    ids=str,
)  # fmt: skip
def test_exceptions_are_filtered_and_counted_by_cause(cli: Cli, words: tuple[str, ...], codes: list[str]) -> None:
    assert [one["code"] for one in cli.json("exceptions", "list", *words)["exceptions"]] == codes
    causes = cli.json("exceptions", "list", "--by-cause", *words)["causes"]
    assert {(one["code"], one["exceptions"]) for one in causes} == {(code, 1) for code in codes}
    assert json.dumps(causes).count("text") >= len(codes)


@pytest.mark.parametrize(
    ("words", "action", "subject"),
    [
        (("lanes", "set", "orders/conversation:a", "--on-error", "park"), "lane.set", "orders/conversation:a: park"),
        (("lanes", "release", "orders/conversation:a"), "lane.release", "orders/conversation:a"),
        (("groups", "set", "night"), "group.set", "night"),
        (("servers", "set", "s1", "--threads", "3"), "server.set", "s1"),
        (("servers", "drain", "nobody"), "server.drain", "nobody"),
        (("alerts", "set", "--port", "orders", "--on", "error"), "alert.set", "ann: orders"),
        (("alerts", "retry", "9"), "alert.retry", "9"),
        (("jobs", "hold", "nobody"), "job.hold", "nobody"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_actions_on_anything_are_written_down(cli: Cli, words: tuple[str, ...], action: str, subject: str) -> None:
    done = cli.run(*words, "--reason", "because").exit_code == 0
    (row,) = cli.json("audit")["actions"]
    assert (row["actor"], row["action"], row["subject"]) == ("ann", action, subject)
    assert (row["reason"], row["outcome"]) == ("because", "done" if done else "refused")


def test_actions_on_jobs_are_written_down(nightly: Cli) -> None:
    for words in (("release",), ("hold",), ("copy", "--", "monthly")):
        verb, *rest = words
        nightly.run("jobs", verb, "nightly", *[word for word in rest if word != "--"])
    nightly.run("tasks", "hold", "nightly", "undo")
    nightly.run("jobs", "delete", "monthly", "--yes")
    actions = [(one["action"], one["subject"]) for one in nightly.json("audit")["actions"]]
    assert actions == [
        ("job.delete", "monthly"), ("task.hold", "nightly/undo"), ("job.copy", "nightly as monthly"),
        ("job.hold", "nightly"), ("job.release", "nightly"), ("job.create", "nightly"),
    ]  # fmt: skip
