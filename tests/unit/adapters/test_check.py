"""The start checks: sentences that name the setting to change."""

import os
from pathlib import Path

import pytest

from adapters.file.check import FolderFinding, check_receive, check_send
from gateway.kernel.faultpoints import switched_on
from tests.unit.adapters.support import Site


def errors(findings: "tuple[FolderFinding, ...] | list[FolderFinding]") -> list[tuple[str, str]]:
    return [(each.setting, each.text) for each in findings if each.fatal]


def test_good_folders_have_no_errors_and_nothing_is_left_behind(site: Site) -> None:
    assert errors([*check_receive(site.receive_settings), *check_send(site.send_settings)]) == []
    assert all(os.listdir(folder) == [] for folder in site.root.iterdir())


def test_missing_folders_that_can_be_made_are_no_error_and_are_not_made(site: Site) -> None:
    settings = site.receiving(work=site.root / "new" / "work", inbound=site.root / "new" / "in")
    assert errors(list(check_receive(settings))) == []
    assert errors(list(check_send(site.sending(staging=site.root / "new" / "staging")))) == []
    assert not (site.root / "new").exists()


def test_parents_can_be_made_only_within_reach(site: Site) -> None:
    far = site.receiving(inbound=site.root / "share" / "in")
    assert errors(list(check_receive(far, reach=[site.root]))) == []
    ((setting, text),) = errors(list(check_receive(far, reach=[site.root / "site"])))
    assert setting == "ports.orders.receive.folder"
    assert "may be a share that is not mounted" in text
    near = site.receiving(inbound=site.root / "in two")
    assert errors(list(check_receive(near, reach=[site.root / "site"]))) == []


@pytest.mark.parametrize("kind", ["link", "file", "inside a file"])
def test_what_is_no_folder_is_refused(site: Site, kind: str) -> None:
    path = site.root / "odd"
    if kind == "link":
        path.symlink_to(site.inbound)
    else:
        path.touch()
    if kind == "inside a file":
        path = path / "below"
    ((setting, text),) = errors(list(check_receive(site.receiving(archive=path))))[:1]
    assert setting == "ports.orders.receive.archive"
    assert str(path) in text


def test_files_that_will_not_have_the_group_of_their_folder_are_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.file.outbound.stage.may_give", lambda _: False)
    monkeypatch.setattr("adapters.file.check.may_give", lambda _: False)
    (finding,) = [each for each in check_send(site.send_settings) if "will not have its group" in each.text]
    assert (finding.fatal, finding.setting) == (False, "ports.orders.respond.folder")
    own = site.sending(group=os.getegid())
    assert "will not have" not in str(check_send(own))


def test_our_folders_may_not_lie_inside_a_partners_folder(site: Site) -> None:
    inside = site.receiving(work=site.inbound / "work")
    assert [setting for setting, _ in errors(list(check_receive(inside)))] == ["ports.orders.receive.work"]
    same = site.sending(staging=site.outbound)
    assert [setting for setting, _ in errors(list(check_send(same)))] == ["ports.orders.respond.staging"]


def test_another_file_system_is_refused_with_the_setting_to_change(site: Site) -> None:
    other = next(Path(mount) for mount in ("/dev/shm", "/run") if Path(mount).is_dir())
    found = errors(list(check_receive(site.receiving(work=other / "gateway-work"))))
    assert [setting for setting, _ in found] == ["ports.orders.receive.work"]
    assert "another file system" in found[0][1]
    found = errors(list(check_send(site.sending(staging=other / "gateway-staging"))))
    assert [setting for setting, _ in found] == ["ports.orders.respond.staging"]


def test_a_folder_that_fails_the_test_run_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert errors(list(check_send(site.send_settings)))[0][0] == "ports.orders.respond.folder"
    monkeypatch.undo()
    assert os.listdir(site.outbound) == os.listdir(site.staging) == []


def test_folders_open_to_other_accounts_are_warned_about(site: Site) -> None:
    site.work.chmod(0o755)
    found = [each for each in check_receive(site.receive_settings) if each.setting.endswith(".work")]
    assert [each.fatal for each in found] == [False]
    assert "chmod 700" in found[0].text


def test_the_kind_of_file_system_is_warned_about(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.file.check.file_system_at", lambda path: "cifs")
    found = [each for each in check_receive(site.receive_settings) if "Windows share" in each.text]
    assert [(each.fatal, each.setting) for each in found] == [(False, "ports.orders.receive.folder")]


def test_checks_need_no_fault_points(site: Site) -> None:
    reached: list[str] = []
    with switched_on(observer=reached.append):
        check_receive(site.receive_settings)
        check_send(site.send_settings)
    assert reached == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nfs", "all files may seem to have one owner"),
        ("cifs", "all files may seem to have one owner"),
        ("fuse", "one step is up to its program"),
        ("vfat", "it has no owners"),
        ("tmpfs", "gone after a restart"),
    ],
)
def test_file_system_that_promises_less_is_warned_about(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    monkeypatch.setattr("adapters.file.check.file_system_at", lambda path: kind)
    found = check_receive(site.receive_settings)
    (text,) = [each.text for each in found if each.setting == "ports.orders.receive.folder" and said in each.text]
    assert str(site.inbound) in text
    assert errors(list(found)) == []


@pytest.mark.parametrize("pattern", ["*.part", "*.TMP", ".*.xml", "~*", "*.done"])
def test_a_pattern_of_names_that_are_never_taken_is_refused(site: Site, pattern: str) -> None:
    ((setting, text),) = errors(list(check_receive(site.receiving(pattern=pattern))))
    assert setting == "ports.orders.receive.pattern"
    assert text == f"no file is ever taken: names like '{pattern}' mean that a file is not ready"
