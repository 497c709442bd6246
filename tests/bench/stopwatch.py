"""A cloud of few words: prints its port, then for each request its `seq` and when it was there.

A process of its own, so that its times (CLOCK_MONOTONIC) do not wait for the benchmark's threads.
"""

import socket
import time


def main() -> None:
    """Serve one connection after the other until the process is ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b"\n\n") and (part := connection.recv(4096)):
                    received += part
                at = time.monotonic()
                connection.sendall(b"[0,0]")
            if received:
                number = received.partition(b"seq")[2].lstrip(b'\\":').partition(b"}")[0]
                print(number.decode(), f"{at:.6f}", flush=True)


if __name__ == "__main__":
    main()
