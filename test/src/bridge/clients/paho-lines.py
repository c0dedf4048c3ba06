"""Eclipse Paho's client behind lines of JSON: commands on standard input, answers and events on standard output."""
import base64
import json
import sys
import threading

import paho.mqtt.client as mqtt

lock = threading.Lock()
client = None
connects = {}
publishes = {}
subscribes = {}


def tell(**members):
    with lock:
        sys.stdout.write(json.dumps(members) + "\n")
        sys.stdout.flush()


def on_connect(_client, _data, flags, code):
    for id in list(connects):
        del connects[id]
        if code == 0:
            tell(id=id, event="connected", present=flags.get("session present", 0))
        else:
            tell(id=id, event="refused", error="refused with %d" % code)


def on_disconnect(_client, _data, code):
    tell(event="disconnected", code=code)


def on_message(_client, _data, message):
    tell(
        event="message",
        topic=message.topic,
        payload=base64.b64encode(message.payload).decode("ascii"),
        qos=message.qos,
        retain=bool(message.retain),
    )


def on_publish(_client, _data, mid):
    with answers:
        id = publishes.pop(mid, None)
        if id is None:
            early.add(mid)
            return
    tell(id=id, event="published")


def on_subscribe(_client, _data, mid, granted):
    with answers:
        id = subscribes.pop(mid, None)
        if id is None:
            early_granted[mid] = granted
            return
    tell(id=id, event="subscribed", granted=list(granted))


# An answer may come before the call that asked has told its number.
answers = threading.Lock()
early = set()
early_granted = {}


def connect(command):
    global client
    # Version 2 of the library asks which form of callbacks is meant.
    versions = getattr(mqtt, "CallbackAPIVersion", None)
    client = mqtt.Client(
        *([] if versions is None else [versions.VERSION1]),
        client_id=command["client"],
        clean_session=command["clean"],
        protocol=mqtt.MQTTv311,
        transport=command["transport"],
    )
    if command["transport"] == "websockets":
        client.ws_set_options(path="/mqtt")
    client.username_pw_set(command["user"], command["password"])
    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_message = on_message
    client.on_publish = on_publish
    client.on_subscribe = on_subscribe
    connects[command["id"]] = True
    client.connect(command["host"], command["port"])
    client.loop_start()


def publish(command):
    payload = base64.b64decode(command["payload"])
    told = client.publish(command["topic"], payload, command["qos"], command["retain"])
    with answers:
        if told.mid not in early:
            publishes[told.mid] = command["id"]
            return
        early.discard(told.mid)
    tell(id=command["id"], event="published")


def subscribe(command):
    _, mid = client.subscribe([(topic, command["qos"]) for topic in command["topics"]])
    with answers:
        if mid not in early_granted:
            subscribes[mid] = command["id"]
            return
        granted = early_granted.pop(mid)
    tell(id=command["id"], event="subscribed", granted=list(granted))


def disconnect(command):
    client.disconnect()
    client.loop_stop()
    tell(id=command["id"], event="closed")


COMMANDS = {"connect": connect, "publish": publish, "subscribe": subscribe, "disconnect": disconnect}

for line in sys.stdin:
    command = json.loads(line)
    try:
        COMMANDS[command["op"]](command)
    except Exception as error:
        tell(id=command["id"], event="failed", error=repr(error))
