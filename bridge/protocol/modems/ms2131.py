"""Huawei MS2131: a 3G stick for machines."""

from dataclasses import replace

from bridge.protocol.modems import e303

PROFILE = replace(e303.PROFILE, interface="cellular-ms2131", label="Huawei MS2131", usb_ids=("12d1:1506",))
