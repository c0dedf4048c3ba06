"""Opens a UDP socket that shares its port, hands it down as a service manager does, and becomes the given program.

reuseport.py <port> listen_fds|coap_fd <program> [<argument> ...]
"""
import os
import socket
import sys

FIRST = 3

port, way = int(sys.argv[1]), sys.argv[2]
opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
opened.bind(("127.0.0.1", port))
if way == "listen_fds":
    if opened.fileno() != FIRST:
        os.dup2(opened.fileno(), FIRST)
    os.set_inheritable(FIRST, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="coap")
else:
    opened.set_inheritable(True)
    os.environ["MILLRACE_COAP_FD"] = str(opened.fileno())
os.execvp(sys.argv[3], sys.argv[3:])
