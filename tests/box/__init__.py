"""The emulated machine: a Debian disk of its own (`recipe`), booted in qemu (`machine`).

It has what a container has not: a kernel with PPP, USB serial ports that come and go, radios without air,
systemd, and a power switch. Nothing in it reaches a network outside itself.
"""
