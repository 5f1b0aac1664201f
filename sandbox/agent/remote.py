"""What test code sees of a solution: stand-ins that ask the candidate, and plain values.

Whatever the candidate answers can be wrong, but it is plain: built here of builtin types, so that a comparison is the
test's own.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NoReturn

from sandbox.agent.frames import dumps
from sandbox.agent.values import MALFORMED, decode, encode

LONGEST_NAME = 200


class Gone(BaseException):
    """The candidate answers no more: it has ended, or must be stopped, or its answer is none."""


class CannotCross(BaseException):
    """Test code hands over a value that is not plain data."""


class Opaque:
    """Stands for a value of the candidate's that is not plain data: equal to nothing but itself."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind[:LONGEST_NAME]}>"


class Remote:
    """The candidate, asked over its pipes.

    ask: sends a request and returns the body of the answer's frame; None where there is none.
    modules: those that test code may find in the solution's names.
    """

    def __init__(self, ask: Callable[[bytes], bytes | None], modules: frozenset[str]) -> None:
        self._ask, self._modules = ask, modules
        self._exceptions: dict[str, type[BaseException]] = {}
        self.broken = False
        """Whether the candidate has failed to answer."""
        self.peak_bytes = 0
        """The highest resident memory of the candidate, as it says itself."""
        self.faults: list[str] = []
        """What test code has handed over that cannot cross."""

    def get(self, name: str) -> Any:
        """What a name of the solution's stands for. Raises KeyError where it has none of that name."""
        meaning = self._answer(dumps({"get": name}))
        if meaning.get("callable"):
            return self.function(name)
        try:
            if "module" in meaning and meaning["module"] in self._modules:
                return import_module(meaning["module"])
            if "exception" in meaning:
                return self._kind([str(kind) for kind in meaning["exception"]])
            if "value" in meaning:
                return decode(meaning["value"], Opaque)
        except MALFORMED:
            self._break()
        raise KeyError(name)

    def function(self, name: str) -> Callable[..., Any]:
        """A function that calls the solution's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        return call

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        sent = [encode(argument) for argument in args]
        named = {key: encode(argument) for key, argument in kwargs.items()}
        request = dumps({"call": name, "args": sent, "kwargs": named})
        if '{"o":' in request:
            self._refuse(name, zip((*args, *kwargs.values()), (*sent, *named.values()), strict=True))
        answer = self._answer(request)
        try:
            self.peak_bytes = max(0, min(int(answer["peak"]), 1 << 50))
            if "args" in answer:
                for argument, after in zip(args, answer["args"], strict=True):
                    _changed(argument, decode(after, Opaque))
            if "raised" in answer:
                error = self._error(answer["raised"])
            else:
                return decode(answer["value"], Opaque)
        except MALFORMED:
            self._break()
        raise error

    def _refuse(self, name: str, arguments: Iterable[tuple[Any, Any]]) -> None:
        """Raise CannotCross where one of some arguments, each with what is sent for it, is not plain data.

        Where it is the candidate's own, which has come back, that is the candidate's doing: then its answer was none.
        """
        for argument, sent in arguments:
            if _theirs(argument):
                self._break()
            if _opaque(sent):
                self.faults.append(f"an argument of {name}() is not plain data ({type(argument).__name__})")
                raise CannotCross

    def _answer(self, request: str) -> dict[str, Any]:
        body = None if self.broken else self._ask(request.encode("ascii"))
        try:
            answer = None if body is None else _loads(body.decode())
        except MALFORMED:
            answer = None
        if isinstance(answer, dict):
            return answer
        return self._break()

    def _break(self) -> NoReturn:
        self.broken = True
        raise Gone

    def _error(self, record: dict[str, Any]) -> BaseException:
        """An exception of the candidate's, as one of ours. Raises one of `MALFORMED`."""
        kinds, message = [str(kind) for kind in record["kinds"]], str(record["message"])
        error = self._kind(kinds)(message)
        error.__notes__ = [str(record["traceback"])]
        return error

    def _kind(self, kinds: list[str]) -> type[BaseException]:
        """The class that stands for an exception of the candidate's, of the nearest builtin one.

        kinds: the names of its class and bases, the most derived first. Its message is what the candidate's was.
        """
        name = kinds[0][:LONGEST_NAME]
        if name not in self._exceptions:
            found = (getattr(builtins, kind, None) for kind in kinds)
            base = next(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))
            plain = {"__init__": _keep_message, "__str__": _message, "__module__": "solution"}
            self._exceptions[name] = base if base in _PLAIN and base.__name__ == name else type(name, (base,), plain)
        return self._exceptions[name]


class Names(dict[str, Any]):
    """The names of test code: its own, builtins, then the solution's."""

    def __init__(self, remote: Remote, entry_point: str) -> None:
        super().__init__({"__name__": "tests", "__builtins__": builtins, entry_point: remote.function(entry_point)})
        self._remote = remote

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        value = self[name] = self._remote.get(name)
        return value


_PLAIN = frozenset(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__init__ is not OSError.__init__
    and not issubclass(kind, (UnicodeError, BaseExceptionGroup, KeyError, SystemExit))
)  # fmt: skip
"""The builtin exceptions that are made of a message and say it."""


def _keep_message(self: BaseException, message: str = "", *_: Any) -> None:
    self.args = (message,)


def _message(self: BaseException) -> str:
    return str(self.args[0]) if self.args else ""


def _changed(argument: Any, after: Any) -> Any:
    """An argument as it is after a call: what can be changed is changed in place."""
    if type(argument) is not type(after):
        return after
    if isinstance(argument, list):
        argument[:] = [_changed(*pair) for pair in zip(argument, after, strict=False)] + after[len(argument) :]
    elif isinstance(argument, tuple) and len(argument) == len(after):
        pairs = [_changed(*pair) for pair in zip(argument, after, strict=True)]
        return argument if all(new is old for new, old in zip(pairs, argument, strict=True)) else tuple(pairs)
    elif isinstance(argument, dict):
        items = {key: _changed(argument[key], item) if key in argument else item for key, item in after.items()}
        argument.clear()
        argument.update(items)
    elif isinstance(argument, set):
        argument.clear()
        argument.update(after)
    elif isinstance(argument, bytearray):
        argument[:] = after
    else:
        return after
    return argument


def _theirs(value: Any) -> bool:
    """Whether a value is, or holds, one of the candidate's that is not plain data."""
    if isinstance(value, dict):
        return any(map(_theirs, value)) or any(map(_theirs, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_theirs, value))
    return isinstance(value, Opaque)


def _opaque(sent: Any) -> bool:
    """Whether an encoded value holds something that is not plain data."""
    if isinstance(sent, list):
        return any(map(_opaque, sent))
    return isinstance(sent, dict) and any(key == "o" or _opaque(item) for key, item in sent.items())


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_loads = json.JSONDecoder(parse_constant=_refuse).decode
