"""Python's asyncio: many echo connections at once; each checks what comes back, then half-closes."""

import asyncio
import hashlib
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])
CONNECTIONS, ROUNDS = 100, 20


def message(connection: int, turn: int) -> bytes:
    seed = hashlib.sha256(f"{connection}.{turn}".encode()).digest()
    return (seed * 300)[: 1 + (connection * 131 + turn * 977) % 9000]


async def talk(connection: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, PORT)
    for turn in range(ROUNDS):
        sent = message(connection, turn)
        writer.write(sent)
        await writer.drain()
        assert await reader.readexactly(len(sent)) == sent, "the echo differs"
    writer.write_eof()
    assert await reader.read() == b"", "there is more than was sent"
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    await asyncio.wait_for(asyncio.gather(*map(talk, range(CONNECTIONS))), 60)
    print(f"{CONNECTIONS} connections, {CONNECTIONS * ROUNDS} echoes")


asyncio.run(main())
