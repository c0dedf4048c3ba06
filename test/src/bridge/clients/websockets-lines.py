"""Python's websockets behind lines of JSON: commands on standard input, answers and events on standard output."""
import asyncio
import base64
import json
import sys

import websockets

sockets = {}
# Version 14 of the library renamed it.
HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"


def tell(**members):
    sys.stdout.write(json.dumps(members) + "\n")
    sys.stdout.flush()


async def follow(name, socket):
    try:
        async for frame in socket:
            text = isinstance(frame, str)
            payload = frame.encode("utf-8") if text else frame
            tell(event="frame", socket=name, text=text, payload=base64.b64encode(payload).decode("ascii"))
    except websockets.ConnectionClosed:
        pass
    tell(event="closed", socket=name, code=socket.close_code, reason=socket.close_reason)


async def open_socket(command):
    socket = await websockets.connect(command["url"], compression=None, **{HEADERS: command["headers"]})
    sockets[command["socket"]] = socket
    asyncio.ensure_future(follow(command["socket"], socket))


async def send(command):
    payload = base64.b64decode(command["payload"])
    await sockets[command["socket"]].send(payload.decode("utf-8") if command["text"] else payload)


async def close(command):
    await sockets.pop(command["socket"]).close()


COMMANDS = {"open": open_socket, "send": send, "close": close}


async def run(command):
    try:
        await COMMANDS[command["op"]](command)
        tell(id=command["id"], event="done")
    except Exception as error:
        tell(id=command["id"], event="failed", error=repr(error))


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        line = await reader.readline()
        if not line:
            return
        command = json.loads(line)
        # What opens a socket may take its time; what is sent keeps its order.
        if command["op"] == "open":
            asyncio.ensure_future(run(command))
        else:
            await run(command)


asyncio.run(main())
