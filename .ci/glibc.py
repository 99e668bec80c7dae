"""The newest glibc that a 64-bit ELF program asks for; fails where that is newer than Amazon Linux 2023 has.

It reads the section of needed versions (.gnu.version_r) itself, since `readelf` is not everywhere.
"""

import struct
import sys

HAS = (2, 34)
SHT_GNU_VERNEED = 0x6FFFFFFE


def needed_versions(program):
    """The names of all versions that the program needs of its libraries."""
    if program[:5] != b"\x7fELF\x02" or program[5] != 1:
        raise SystemExit("not a 64-bit little-endian ELF program")
    offset, = struct.unpack_from("<Q", program, 0x28)
    size, count = struct.unpack_from("<HH", program, 0x3A)
    # name, type, flags, address, offset, size, link, info, alignment, entry size
    sections = [struct.unpack_from("<IIQQQQIIQQ", program, offset + size * index) for index in range(count)]
    for section in (section for section in sections if section[1] == SHT_GNU_VERNEED):
        strings = sections[section[6]][4]
        at = section[4]
        for _ in range(section[7]):
            _, versions, _, first, following = struct.unpack_from("<HHIII", program, at)
            aux = at + first
            for _ in range(versions):
                _, _, _, name, next_aux = struct.unpack_from("<IHHII", program, aux)
                start = strings + name
                yield program[start:program.index(b"\0", start)].decode()
                aux += next_aux
            at += following


def main():
    with open(sys.argv[1], "rb") as file:
        program = file.read()
    numbers = [tuple(map(int, name[6:].split("."))) for name in needed_versions(program) if name.startswith("GLIBC_2")]
    newest = max(numbers, default=(0,))
    print(".".join(map(str, newest)))
    if newest > HAS:
        raise SystemExit(f"{sys.argv[1]} needs glibc {'.'.join(map(str, newest))}; Amazon Linux 2023 has {'.'.join(map(str, HAS))}")


main()
