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
