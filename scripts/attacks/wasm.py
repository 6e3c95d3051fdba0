"""Hostile WebAssembly, byte by byte: modules that are costly to compile, and components that need much of a pool."""
from .folders import ROOT

I32, EMPTY = b"\x7f", b"\x40"
HEADER = b"\0asm\1\0\0\0"


def leb(number):
    """Unsigned LEB128."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def sized(data):
    return leb(len(data)) + data


def listed(*items):
    return leb(len(items)) + b"".join(items)


def section(number, data):
    return bytes([number]) + sized(data)


def function_type(parameters, results):
    return b"\x60" + sized(I32 * parameters) + sized(I32 * results)


def module(types, body, locals_=0, memory=True, start=False):
    """A command whose only function, of the first type, has this body."""
    code = listed(leb(locals_) + I32) if locals_ else listed()
    exports = [sized(b"_start") + b"\0\0"] + ([sized(b"memory") + b"\2\0"] if memory else [])
    return (HEADER + section(1, listed(*types)) + section(3, listed(b"\0")) + (section(5, listed(b"\0\1")) if memory else b"")
            + section(7, listed(*exports)) + (section(8, b"\0") if start else b"")
            + section(10, listed(sized(code + body + b"\x0b"))))


def wide_blocks(kib, values=1000):
    """Blocks that each hand on `values` numbers: three bytes of code are `values` parameters of a basic block."""
    types = [function_type(0, 0), function_type(values, values)]
    start, end = b"\x41\0" * values, b"\x1a" * values
    count = (kib * 1024 - len(start) - len(end) - 100) // 3
    return module(types, start + b"\x02\x01\x0b" * count + end)


def greedy_component(memories=0, tables=0, instances=0):
    """The shipped component of Calendly that, before it runs, instantiates modules with a memory, a table or nothing
    each, and then one that loops."""
    component = (ROOT / "plugins/calendly/mapper.wasm").read_bytes()
    hoards = [HEADER + section(5, listed(b"\0\1")), HEADER + section(4, listed(b"\x70\0\1")), HEADER]
    loop = module([function_type(0, 0)], b"\x03\x40\x0c\0\x0b", memory=False, start=True)
    first = modules_in(component)
    calls = [first] * memories + [first + 1] * tables + [first + 2] * instances + [first + 3]
    return (component + b"".join(section(1, it) for it in hoards + [loop])
            + section(2, listed(*[b"\0" + leb(number) + b"\0" for number in calls])))


def modules_in(component):
    """How many core modules a component defines at its top: the number of the next one."""
    at, count = 8, 0
    while at < len(component):
        number, size, shift, at = component[at], 0, 0, at + 1
        while True:
            byte, at = component[at], at + 1
            size, shift = size | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        at, count = at + size, count + (number == 1)
    return count


def says(item, mib):
    """A command that writes a JSON array of about so many MiB: this item over and over."""
    chunk = (b"," + item) * ((1 << 20) // (len(item) + 1))
    start, iovecs, code = b"[" + item, b"", b""
    for at, size in ((64, len(start)), (1024, len(chunk)), (56, 1)):
        iovecs += at.to_bytes(4, "little") + size.to_bytes(4, "little")
    for which in [0] + [1] * mib + [2]:
        # fd_write(1, iovec, 1, 40), and its result dropped
        code += b"\x41\1\x41" + leb(8 * which) + b"\x41\1\x41\x28\x10\0\x1a"
    data = [b"\0\x41" + at + b"\x0b" + sized(text) for at, text in ((b"\0", iovecs), (b"\x38", b"]"), (b"\xc0\0", start), (b"\x80\x08", chunk))]
    call = sized(b"wasi_snapshot_preview1") + sized(b"fd_write") + b"\0\1"
    return (HEADER + section(1, listed(function_type(0, 0), function_type(4, 1))) + section(2, listed(call)) + section(3, listed(b"\0"))
            + section(5, listed(b"\0\x20")) + section(7, listed(sized(b"_start") + b"\0\1", sized(b"memory") + b"\2\0"))
            + section(10, listed(sized(listed() + code + b"\x0b"))) + section(11, listed(*data)))
