"""A client on aiocoap for the tests: one JSON request a line in, one JSON answer a line out."""
import asyncio
import base64
import json
import sys

import aiocoap
from aiocoap import Code, Message
from aiocoap.numbers import ContentFormat


def message(asked):
    request = Message(
        code=getattr(Code, asked["method"]),
        uri=asked["uri"],
        payload=base64.b64decode(asked.get("payload", "")),
    )
    if asked.get("non"):
        request.mtype = aiocoap.NON
    if "format" in asked:
        request.opt.content_format = ContentFormat(asked["format"])
    if "accept" in asked:
        request.opt.accept = ContentFormat(asked["accept"])
    if asked.get("observe"):
        request.opt.observe = 0
    return request


def tell(asked, answer, kind):
    told = {
        "id": asked["id"],
        "kind": kind,
        "code": str(answer.code).split(" ")[0],
        "payload": base64.b64encode(answer.payload).decode(),
        "format": None if answer.opt.content_format is None else int(answer.opt.content_format),
    }
    print(json.dumps(told), flush=True)


async def serve(context, asked):
    pending = context.request(message(asked))
    try:
        tell(asked, await pending.response, "answer")
        if asked.get("observe"):
            async for notification in pending.observation:
                tell(asked, notification, "notification")
    except Exception as error:  # told, so that the test fails with it
        print(json.dumps({"id": asked["id"], "kind": "error", "code": repr(error), "payload": "", "format": None}), flush=True)


async def main():
    context = await aiocoap.Context.create_client_context()
    print(json.dumps({"id": 0, "kind": "ready", "code": "", "payload": "", "format": None}), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        task = asyncio.create_task(serve(context, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await context.shutdown()


asyncio.run(main())
