"""Pickles read as data: a fixed list of opcodes and of names. Nothing that a file says is imported, executed or called.

A pickle is a program for a machine with a stack (`pickletools` in the standard library lists its opcodes). This machine
knows those that make numbers, texts, lists and dictionaries; where a file names a function, the caller's table has what
stands for it.
"""

import pickletools
from collections.abc import Callable, Mapping
from io import SEEK_END
from typing import BinaryIO

OPERATIONS = 1_000_000  # a file with more is refused: an operation of one byte can take a hundred bytes of memory
LITERALS = frozenset(
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT FLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE "
    "BINSTRING SHORT_BINSTRING STRING BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def refuse(*_: object) -> object:
    """Stand in for what a reader does not offer."""
    raise ValueError("it holds an object that is no plain data")


def read_pickle(
    stream: BinaryIO,
    names: Mapping[str, object],
    *,
    persistent: Callable[[object], object] = refuse,
    build: Callable[[object, object], None] = refuse,
) -> object:
    """Read one pickle; the stream stands after it then.

    Parameters
    ----------
    stream : binary file
    names : mapping of str to object
        What stands for a name in the file, such as 'collections.OrderedDict'. What the file calls must be callable: it
        is given the arguments in the file, which may be anything.
    persistent : callable
        ``persistent(id)`` gives the object that the file refers to by an id.
    build : callable
        ``build(object, state)`` gives the object of a call its state.

    Returns
    -------
    object
        Of dicts, lists, tuples, str, bytes, numbers, bool, None, and what `names` and `persistent` give.

    Raises
    ------
    ValueError
        It is no whole pickle, or has an opcode or a name that is not known here; the message names it.
    """
    machine = _Machine(names, persistent, build)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(_Within(stream))):
            if count == OPERATIONS:
                raise ValueError(f"it has more than {OPERATIONS:,} operations")
            machine.step(opcode.name, argument)
        if len(machine.stack) == 1:
            return machine.stack[0]
    except (IndexError, KeyError, TypeError, OverflowError):
        pass
    raise ValueError("its operations make no sense together")


class _Within:
    """A stream that is never asked for more than it has: a damaged length would take as much memory."""

    def __init__(self, stream: BinaryIO):
        self._stream, self.tell, self.readline = stream, stream.tell, stream.readline
        here = stream.tell()
        self._end = stream.seek(0, SEEK_END)
        stream.seek(here)

    def read(self, count: int) -> bytes:
        """Return so many bytes, or those that are left."""
        return self._stream.read(min(count, self._end - self._stream.tell()))


class _Machine:
    """The stack, the places of marks in it, and the objects that the file refers to again by number."""

    def __init__(self, names: Mapping[str, object], persistent: Callable, build: Callable):
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.names, self.persistent, self.build = names, persistent, build

    def step(self, name: str, argument: object) -> None:
        """Do one operation."""
        push, pop = self.stack.append, self.stack.pop
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if name in LITERALS:
                push(argument)
            case _ if name in CONSTANTS:
                push(CONSTANTS[name])
            case _ if name in EMPTY:
                push(EMPTY[name]())
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE" | "LIST":
                push((tuple if name == "TUPLE" else list)(self.since_mark()))
            case _ if name in TUPLES:
                push(tuple(reversed([pop() for _ in range(TUPLES[name])])))
            case "DICT":
                push(_filled({}, self.since_mark()))
            case "APPEND" | "APPENDS":
                values = [pop()] if name == "APPEND" else self.since_mark()
                _expect(self.stack[-1], list).extend(values)
            case "SETITEM" | "SETITEMS":
                pairs = [pop(), pop()][::-1] if name == "SETITEM" else self.since_mark()
                _filled(_expect(self.stack[-1], dict), pairs)
            case "POP":
                pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT" | "MEMOIZE":
                self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                push(self.memo[argument])
            case "GLOBAL":
                push(self.find(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                function, module = _expect(pop(), str), _expect(pop(), str)
                push(self.find(module, function))
            case "REDUCE" | "NEWOBJ":
                arguments = _expect(pop(), tuple)
                push(pop()(*arguments))
            case "BUILD":
                state = pop()
                self.build(self.stack[-1], state)
            case "BINPERSID":
                push(self.persistent(pop()))
            case _:
                raise ValueError(f"it has the operation {name}, which data do not need")

    def since_mark(self) -> list:
        """Take what was pushed since the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def find(self, module: str, function: str) -> object:
        """Return what stands for a name."""
        if f"{module}.{function}" not in self.names:
            raise ValueError(f"it names {module}.{function}, which is not read")
        return self.names[f"{module}.{function}"]


def _expect(value: object, kind: type) -> object:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _filled(target: dict, pairs: list) -> dict:
    """Put keys and values in turn into a dict. Keys are plain: to hash nested tuples could overflow the stack."""
    keys, values = pairs[::2], pairs[1::2]
    if not all(isinstance(key, (str, bytes, int)) for key in keys):
        raise TypeError
    target.update(zip(keys, values, strict=True))
    return target
