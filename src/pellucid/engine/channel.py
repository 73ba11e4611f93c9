"""The supervisor's end of its socket to a process."""

import asyncio
import socket
from collections.abc import Callable

from pellucid.engine.messages import Message
from pellucid.engine.wire import Decoder, WireBroken, encode

_PIECE = 1 << 18


class Channel:
    """Sends and receives, and never blocks its loop.

    A write that fails ends writing only: what the process sent before it died still lies in the socket and is read.

    Args:
        sock: this end, owned from then on.
        on_message: called for each message, in order, in the loop.
        on_broken: called once with what is wrong where the process sends what is no message.
    """

    def __init__(
        self, sock: socket.socket, on_message: Callable[[Message], None], on_broken: Callable[[str], None]
    ) -> None:
        sock.settimeout(0)
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._decoder = Decoder(trusted=False)
        self._unsent = bytearray()
        self._on_message = on_message
        self._on_broken = on_broken
        self._writable = self._readable = True
        self._loop.add_reader(sock, self._read_piece)

    def send(self, message: Message) -> None:
        """Send a message; what the socket doesn't take at once follows. To a dead process it is nothing."""
        if not self._writable:
            return
        waiting = bool(self._unsent)
        self._unsent += encode(message)
        if not waiting:
            self._write()
            if self._unsent:
                self._loop.add_writer(self._socket, self._write)

    def drain(self) -> None:
        """Deliver all that lies in the socket; for a process that has ended."""
        while self._readable and self._read_piece():
            pass

    def close(self) -> None:
        """Close the socket; nothing is delivered or sent from then on."""
        self._end_reading()
        self._end_writing()
        self._socket.close()

    def _read_piece(self) -> bool:
        """Deliver what one read gives; whether there may be more."""
        try:
            data = self._socket.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            data = b""
        if not data:
            self._end_reading()
            return False
        try:
            messages = self._decoder.feed(data)
        except WireBroken as error:
            self._end_reading()
            self._on_broken(str(error))
            return False
        for message in messages:
            # each in a step of the loop of its own: a fault met on one doesn't lose the others
            self._loop.call_soon(self._on_message, message)
        return True

    def _write(self) -> None:
        try:
            while self._unsent:
                n_sent = self._socket.send(memoryview(self._unsent)[:_PIECE])
                del self._unsent[:n_sent]
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            self._end_writing()
            return
        self._loop.remove_writer(self._socket)

    def _end_reading(self) -> None:
        if self._readable:
            self._readable = False
            self._loop.remove_reader(self._socket)

    def _end_writing(self) -> None:
        if self._writable:
            self._writable = False
            self._unsent.clear()
            self._loop.remove_writer(self._socket)
