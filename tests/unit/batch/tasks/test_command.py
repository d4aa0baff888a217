"""Commands as real processes: output, exit codes, limits, and that nothing of them is left behind."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.batch.handlers.command import CommandParameters, CommandTask
from gateway.kernel.errors import TaskFailed, TaskRefused
from tests.site import until
from tests.task_contexts import Occasion


def python(code: str, *arguments: str, **options: Any) -> CommandParameters:
    return CommandParameters(command=(sys.executable, "-I", "-c", code, *arguments), **options)


async def run(parameters: CommandParameters, base: Path, occasion: Occasion | None = None) -> Occasion:
    occasion = occasion or Occasion()
    await CommandTask(parameters, base).run(occasion.context)
    return occasion


async def test_output_and_errors_go_into_the_log_in_their_order(tmp_path: Path) -> None:
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three', end='')"
    occasion = await run(python(code), tmp_path)
    assert occasion.log.texts[:3] == ["one", "two", "three"]
    assert occasion.log.texts[3].endswith("ended with exit code 0.")
    assert occasion.files == {}


async def test_long_output_is_kept_as_a_file(tmp_path: Path) -> None:
    occasion = await run(python("for n in range(300): print(n)"), tmp_path)
    assert occasion.log.texts[199] == "199"
    assert "100 more lines" in occasion.log.texts[200]
    assert occasion.files["output.txt"].split() == [str(n).encode() for n in range(300)]


async def test_arguments_are_not_read_by_a_shell(tmp_path: Path) -> None:
    occasion = await run(python("import sys; print(sys.argv[1])", "$HOME; echo *"), tmp_path)
    assert occasion.log.texts[0] == "$HOME; echo *"


async def test_input_folder_and_environment_are_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_LEAK", "secret of the gateway")
    (tmp_path / "there").mkdir()
    code = (
        "import os, sys; from os import environ;"
        "print(sys.stdin.read(), os.getcwd(), environ['COLOUR'], environ.get('GATEWAY_TEST_LEAK'))"
    )
    parameters = python(code, folder=tmp_path / "there", environment={"COLOUR": "red"}, input="hello")
    occasion = await run(parameters, tmp_path)
    assert occasion.log.texts[0] == f"hello {tmp_path / 'there'} red None"


async def test_a_command_knows_its_run_and_its_idempotency_key(tmp_path: Path) -> None:
    code = "import os; print(*(os.environ['GATEWAY_' + n] for n in ('JOB', 'RUN_ID', 'ATTEMPT', 'IDEMPOTENCY_KEY')))"
    occasion = await run(python(code), tmp_path, Occasion(attempt=2))
    assert occasion.log.texts[0] == "nightly 17 2 nightly/17/170"


async def test_another_exit_code_is_a_failure_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="exit code 3; success is 0") as failed:
        await run(python("raise SystemExit(3)"), tmp_path)
    assert failed.value.code == "command.exit"


async def test_other_exit_codes_can_mean_success(tmp_path: Path) -> None:
    await run(python("raise SystemExit(3)", exit_codes=(0, 3)), tmp_path)


async def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="SIGUSR1"):
        await run(python("import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"), tmp_path)


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    occasion = Occasion()
    with pytest.raises(TaskFailed, match="could not be started"):
        await run(CommandParameters(command=("no-such-program-here",)), tmp_path, occasion)
    assert occasion.log.texts == ["no-such-program-here cannot be started: No such file or directory"]


async def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskRefused, match="does not exist"):
        await run(python("", folder=tmp_path / "nowhere"), tmp_path)


async def test_memory_is_bounded(tmp_path: Path) -> None:
    occasion = Occasion()
    with pytest.raises(TaskFailed, match="exit code 1"):
        await run(python("x = bytearray(500_000_000)", memory_bytes=200_000_000), tmp_path, occasion)
    assert "MemoryError" in occasion.log.texts


async def test_processor_time_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="processor time"):
        await run(python("while True: pass", cpu_seconds=1), tmp_path)


async def test_the_size_of_files_is_bounded(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); open('f', 'wb').write(bytes(2000))"
    with pytest.raises(TaskFailed, match="larger file"):
        await run(python(code, file_bytes=1000), tmp_path)


async def test_a_command_that_writes_too_much_is_ended(tmp_path: Path) -> None:
    occasion = Occasion()
    with pytest.raises(TaskFailed, match="more than 1,000 bytes"):
        await run(python("while True: print('x' * 50)", output_bytes=1000), tmp_path, occasion)
    assert occasion.log.texts[0] == "x" * 50


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    occasion = await run(python(code), tmp_path)
    await until(lambda: gone(int(occasion.log.texts[0])), "the child of the command is gone")


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_interrupted_command_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    monkeypatch.setattr("gateway.batch.handlers.command._GRACE_SECONDS", 0.2)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    code = f"import os, signal, time; {deaf}print(os.getpid(), flush=True); time.sleep(600)"
    occasion = Occasion()
    task = asyncio.create_task(run(python(code), tmp_path, occasion))

    async def started() -> bool:
        return bool(occasion.log.lines)

    await until(started, "the command runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int(occasion.log.texts[0]))


async def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # ended; whoever adopted it has not looked yet


async def test_a_command_ends_when_the_gateway_is_killed(tmp_path: Path) -> None:
    """The parent is a process of its own here, as a gateway is."""
    command = [sys.executable, "-I", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    code = f"""
import asyncio, sys
from pathlib import Path
from gateway.batch.handlers.command import CommandParameters, CommandTask
from tests.task_contexts import Occasion

class Log:
    def info(self, text): print(text, flush=True)

occasion = Occasion()
occasion.log = Log()
asyncio.run(CommandTask(CommandParameters(command={command!r}), Path.cwd()).run(occasion.context))
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: gone(pid), "the command is gone")


@pytest.mark.parametrize(
    "wrong", [{"command": []}, {"command": ["x"], "shell": True}, {"command": ["x"], "exit_codes": [256]}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommandParameters.model_validate(wrong)
