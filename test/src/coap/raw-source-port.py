"""Sends UDP datagrams from source port 0, which no socket can be bound to: IP and UDP headers are written here.

raw-source-port.py <port> <hex of a datagram> ...
"""
import socket
import struct
import sys

HOST = socket.inet_aton("127.0.0.1")


def packet(port: int, payload: bytes) -> bytes:
    # A checksum of 0 says that there is none (RFC 768); the kernel fills in that of the IP header.
    udp = struct.pack("!HHHH", 0, port, 8 + len(payload), 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0, HOST, HOST) + udp


with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
    for each in sys.argv[2:]:
        raw.sendto(packet(int(sys.argv[1]), bytes.fromhex(each)), ("127.0.0.1", 0))
