"""What Schemathesis is told of bodies that it can not write by itself."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """One item a line. Other values go as they are: what is wrong shall come to the server wrong."""
    return as_bytes(value)


@schemathesis.serializer("application/senml+cbor", "application/ocsp-request")
def binary(context, value):
    return as_bytes(value)


def as_bytes(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return "\n".join(json.dumps(item) for item in value).encode()
    return json.dumps(value).encode()
