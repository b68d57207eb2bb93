"""A process that reads what strangers wrote, and can be ended: a parser that hangs or swells harms nobody.

``python -m fewnerd_stream.feeds.helper`` takes a call on standard input and answers on standard output, one
after the other: two lengths of four bytes, a JSON object and the body; back, a length and a JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from fewnerd_stream.errors import FewnerdError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

PATIENCE: Final = 30.0
"""Seconds that one call may take."""

_MEMORY: Final = 1 << 30
_MOST_ANSWER: Final = 256 << 20
_GONE: Final = 5.0


class UnreadableError(FewnerdError):
    """What was given to the helper could not be read; the message says why."""


class Helper:
    """The process, started when it is first needed and again after each end; one call at a time."""

    def __init__(self, patience: float = PATIENCE, memory: int = _MEMORY) -> None:
        """Give it so many seconds for a call, and so many bytes of address space (where the system can)."""
        self._patience = patience
        self._memory = memory
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        await self._end()

    async def call(self, name: str, body: bytes, **arguments: str) -> Any:  # noqa: ANN401 - the function's
        """Call a function of `fewnerd_stream.feeds.parse` in the process.

        Raises:
            UnreadableError: it raised, took too long, or ended.
        """
        async with self._turn:
            done = False
            try:
                async with asyncio.timeout(self._patience):
                    answer = await self._ask(orjson.dumps({"name": name, "arguments": arguments}), body)
                done = True
            except TimeoutError:
                raise UnreadableError(f"it takes longer than {self._patience:g} s to read") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise UnreadableError("it takes more memory to read than it may") from None
            finally:
                if not done:  # in the middle of an answer, whatever the reason: begin anew
                    await self._end()
        if "error" in answer:
            raise UnreadableError(answer["error"])
        return answer["result"]

    async def _ask(self, head: bytes, body: bytes) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", __name__, str(self._memory)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
                start_new_session=True,  # a Ctrl-C is for us: it ends with us, since its standard input does
            )
        assert self._process.stdin  # noqa: S101 - for the type checker: we asked for both
        assert self._process.stdout  # noqa: S101 - likewise
        self._process.stdin.write(len(head).to_bytes(4, "big") + len(body).to_bytes(4, "big") + head + body)
        await self._process.stdin.drain()
        size = int.from_bytes(await self._process.stdout.readexactly(4), "big")
        if size > _MOST_ANSWER:
            raise ConnectionError
        answer: dict[str, Any] = orjson.loads(await self._process.stdout.readexactly(size))
        return answer

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GONE):
                await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - else its pipes are closed by chance


def _serve(calls: BinaryIO, answers: BinaryIO) -> None:
    from fewnerd_stream.feeds import parse  # noqa: PLC0415 - the process's own, not its owner's

    functions = {"feed": parse.feed, "article": parse.article, "robots": parse.robots}
    while sizes := calls.read(8):
        head = orjson.loads(calls.read(int.from_bytes(sizes[:4], "big")))
        body = calls.read(int.from_bytes(sizes[4:], "big"))
        try:
            answer = orjson.dumps({"result": functions[head["name"]](body, **head["arguments"])})  # type: ignore[operator]
        except MemoryError:
            return
        except Exception as error:  # noqa: BLE001 - any parser's; the caller is told
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            text = f"{kind}{error}".encode(errors="replace")[:500].decode(errors="replace")
            answer = orjson.dumps({"error": text})
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


def main() -> None:
    """Serve until standard input ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on every system

        memory = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
