"""The system calls that sandboxed code may not make, as a BPF program for Linux. It does not know who installs it.

A second wall: namespaces and dropped rights already refuse nearly all of these, but each has had holes of its own. And
the only one against forks, which would each have the memory limit to itself.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

# Of x86_64 (syscall_64.tbl) and aarch64 (asm-generic/unistd.h); None where there is no such call.
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "fork": (57, None),
    "vfork": (58, None),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "open_by_handle_at": (304, 265),
    # parts of the kernel with a history
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    # memory that no limit of a process counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "setxattr": (188, 5),  # an access list of 64 kB a file, which no file system counts
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
}

MACHINES: Final = ("x86_64", "aarch64")
AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
CLONE: Final = {"x86_64": 56, "aarch64": 220}
CLONE3: Final = 435
CLONE_THREAD: Final = 0x00010000  # linux/sched.h
X32_BIT: Final = 0x40000000  # a second table of calls that an x86_64 kernel may have

# linux/bpf_common.h and linux/seccomp.h
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
CALL, ARCH, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, all little-endian


def program(machine: str) -> bytes | None:
    """The filter for a machine as `platform.machine()` names it; None where its calls are not known."""
    if machine not in MACHINES:
        return None
    column = MACHINES.index(machine)
    code = _op(LOAD, ARCH) + _unless(JUMP_EQUAL, AUDIT_ARCH[machine], KILL_PROCESS) + _op(LOAD, CALL)
    if machine == "x86_64":
        code += _when(JUMP_AT_LEAST, X32_BIT, KILL_PROCESS)
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            code += _when(JUMP_EQUAL, number, ERRNO | errno.EPERM)
    code += _when(JUMP_EQUAL, CLONE3, ERRNO | errno.ENOSYS)  # its flags cannot be seen; libc then takes clone
    code += _op(JUMP_EQUAL, CLONE[machine], 0, 3)
    code += _op(LOAD, FIRST_ARGUMENT) + _unless(JUMP_ANY_BIT, CLONE_THREAD, ERRNO | errno.EPERM)
    return code + _op(RETURN, ALLOW)


def _when(jump: int, value: int, verdict: int) -> bytes:
    return _op(jump, value, 0, 1) + _op(RETURN, verdict)


def _unless(jump: int, value: int, verdict: int) -> bytes:
    return _op(jump, value, 1, 0) + _op(RETURN, verdict)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter of linux/filter.h."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
