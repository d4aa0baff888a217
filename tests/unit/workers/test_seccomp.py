"""The filter of system calls, run as the kernel would, for each machine it is made for."""

import struct

import pytest

from gateway.workers.seccomp import program

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001


def _judge(machine: str, number: int, argument: int = 0, *, architecture: int | None = None) -> int:
    """Return what the filter says to a call."""
    architecture = _ARCHITECTURES[machine] if architecture is None else architecture
    call = struct.pack("=IIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("=HBBI", program(machine)))
    at, value = 0, 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", call, operand)
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("machine", "allowed", "refused"),
    [
        # read, pread64, mmap, futex, sendto, recvmsg, exit_group; openat, socket, connect, execve, clone, ptrace, kill
        ("x86_64", (0, 17, 9, 202, 44, 47, 231), (257, 2, 41, 42, 59, 56, 101, 62, 435, 437, 425, 0x40000000)),
        ("aarch64", (63, 67, 222, 98, 206, 212, 94), (56, 198, 203, 221, 220, 117, 129, 435, 437, 425)),
    ],
)
def test_reading_and_answering_is_all_that_passes(
    machine: str, allowed: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    assert {_judge(machine, number) for number in allowed} == {_ALLOW}
    assert {_judge(machine, number) for number in refused} == {_REFUSE}


@pytest.mark.parametrize(("machine", "write", "prlimit"), [("x86_64", 1, 302), ("aarch64", 64, 261)])
def test_writing_goes_to_standard_error_and_limits_to_the_process_itself(
    machine: str, write: int, prlimit: int
) -> None:
    assert [_judge(machine, write, descriptor) for descriptor in (1, 2, 3)] == [_REFUSE, _ALLOW, _REFUSE]
    assert [_judge(machine, prlimit, process) for process in (0, 1)] == [_ALLOW, _REFUSE]


def test_calls_of_another_architecture_are_refused() -> None:
    assert _judge("x86_64", 0, architecture=0x40000003) == _REFUSE
