"""Commands go by the configuration that the running gateway uses, whatever became of the file on disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db.data_folder import DataLock, Use, running_gateway
from gateway.kernel.errors import ConfigError
from gateway.runtime.in_use import FILE_NAME, KeptConfig, read_site_config

GOOD = "data: ./own\nqueue: {max_ready: 7}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def kept(config: Path) -> Iterator[KeptConfig]:
    """Hold the data folder as a running gateway does."""
    data = config.parent / "own"
    lock = DataLock(data, Use.RUN)
    lock.acquire(0)
    yield KeptConfig(data, config, config.read_bytes())
    lock.release()


BROKEN = {
    "not YAML": GOOD + "ports: [",
    "unknown option": GOOD + "qeue: {}\n",
    "missing reference": GOOD + "default_company: ${NOT_SET_ANYWHERE}\n",
    "not UTF-8 behind the data folder": GOOD + "# \udcf6\n",
    "data in quotes": '"data": "./own"\nports: [',
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_locks_nobody_out_while_a_gateway_runs(name: str, config: Path, kept: KeptConfig) -> None:
    config.write_bytes(os.fsencode(BROKEN[name]))
    found = read_site_config(config)
    assert found.settings.queue.max_ready == 7
    assert found.settings.data == config.parent / "own"
    assert found.problems and str(config) in found.problems[0]


def test_missing_file_is_told_of_and_the_default_data_folder_is_looked_into(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    lock = DataLock(tmp_path / "data", Use.RUN)
    lock.acquire(0)
    KeptConfig(tmp_path / "data", config, b"queue: {max_ready: 7}")
    found = read_site_config(config)
    lock.release()
    assert found.settings.queue.max_ready == 7 and "cannot be read" in found.problems[0]


def test_broken_file_is_refused_when_no_gateway_runs(config: Path) -> None:
    (config.parent / "own").mkdir()
    KeptConfig(config.parent / "own", config, GOOD.encode())  # by one that was killed
    config.write_text(GOOD + "ports: [")
    with pytest.raises(ConfigError):
        read_site_config(config)


def test_what_a_gateway_before_kept_does_not_count(config: Path) -> None:
    data = config.parent / "own"
    lock = DataLock(data, Use.RUN)
    lock.acquire(0)
    KeptConfig(data, config, GOOD.encode())
    kept = data / FILE_NAME
    kept.write_text(kept.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))
    config.write_text("data: ./own\nqueue: {max_ready: 8}\n")
    found = read_site_config(config)
    lock.release()
    assert found.settings.queue.max_ready == 8


def test_valid_change_counts_when_the_gateway_has_taken_it(config: Path, kept: KeptConfig) -> None:
    changed = GOOD.replace("7", "8")
    config.write_text(changed)
    assert read_site_config(config).settings.queue.max_ready == 7
    kept.used(changed.encode())
    assert read_site_config(config).settings.queue.max_ready == 8


def test_options_that_need_a_restart_stay_as_the_gateway_started(config: Path, kept: KeptConfig) -> None:
    changed = GOOD.replace("7", "8") + "workers: {xml: 3}\n"
    config.write_text(changed)
    kept.used(changed.encode())
    settings = read_site_config(config).settings
    assert (settings.queue.max_ready, settings.workers.xml) == (8, 2)


def test_refusal_by_the_gateway_is_told_until_the_file_is_mended(config: Path, kept: KeptConfig) -> None:
    kept.refused(["accounts are missing"])
    assert read_site_config(config).problems == ["accounts are missing"]
    kept.used(GOOD.encode())
    assert not read_site_config(config).problems


def test_only_the_account_of_the_gateway_can_read_what_is_kept(kept: KeptConfig, config: Path) -> None:
    assert (config.parent / "own" / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_full_disk_does_not_end_the_gateway(config: Path, kept: KeptConfig) -> None:
    data = config.parent / "own"
    (data / FILE_NAME).with_suffix(".new").mkdir()
    kept.used(GOOD.replace("7", "8").encode())
    assert not (data / FILE_NAME).exists(), "an old one would be taken for what is in use"


SECRETS = """
mail: {host: mail.example.com, user: gateway, password: "${NOT_SET_ANYWHERE}"}
alerts: {webhook: {url: "https://example.com/${NOT_SET_ANYWHERE}", secret: "${file:/run/not/there}"}}
"""


def test_commands_need_no_secret_that_only_the_gateway_needs(config: Path) -> None:
    config.write_text(GOOD + SECRETS)
    assert read_site_config(config).settings.mail.host == "mail.example.com"


def test_commands_need_the_secrets_of_the_store(config: Path) -> None:
    config.write_text(GOOD + "store: postgresql://gateway:${NOT_SET_ANYWHERE}@127.0.0.1/x\n")
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        read_site_config(config)


def test_visitor_is_no_running_gateway(tmp_path: Path) -> None:
    assert running_gateway(tmp_path / "nowhere") is None
    lock = DataLock(tmp_path, Use.VISIT)
    lock.acquire(0)
    assert running_gateway(tmp_path) is None
    lock.release()
    lock = DataLock(tmp_path, Use.RUN)
    lock.acquire(0)
    assert running_gateway(tmp_path) == os.getpid()
    lock.release()
    assert running_gateway(tmp_path) is None
