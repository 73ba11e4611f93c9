"""The process's end of its socket to the supervisor. Without asyncio: what a process imports, its every start pays."""

import socket
import time
from collections import deque

from pellucid.engine.messages import Message
from pellucid.engine.wire import Decoder, encode

_PIECE = 1 << 18


class Connection:
    """Waits for messages and sends answers."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = Decoder(trusted=True)
        self._arrived: deque[Message] = deque()
        self._waited_s = 0.0

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None where nobody will send one any more.

        Raises:
            TimeoutError: nothing came in time.
        """
        start = time.perf_counter()
        try:
            while not self._arrived:
                self._socket.settimeout(timeout_s)
                data = self._socket.recv(_PIECE)
                if not data:
                    return None
                self._arrived.extend(self._decoder.feed(data))
        finally:
            self._waited_s += time.perf_counter() - start
        return self._arrived.popleft()

    def waited_s(self) -> float:
        """The seconds spent waiting for messages since this was last asked."""
        waited, self._waited_s = self._waited_s, 0.0
        return waited

    def send(self, message: Message) -> None:
        """Send a message whole.

        Raises:
            OSError: nobody listens any more.
        """
        self._socket.settimeout(None)
        self._socket.sendall(encode(message))
