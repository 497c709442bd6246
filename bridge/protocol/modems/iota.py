"""Hologram iota: the board of the Nova U201 under its older name."""

from dataclasses import replace

from bridge.protocol.modems import nova_u201

PROFILE = replace(
    nova_u201.PROFILE,
    interface="cellular-iota",
    label="Hologram iota (u-blox SARA-U201)",
    claims_usb_ids=False,
)
