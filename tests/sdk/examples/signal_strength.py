"""Averages the modem's signal: the counterpart of ``example-average-max-signal-strength.py``."""

import time

from bridge.sdk import HologramCloud

hologram = HologramCloud(None, enable_inbound=False, network="cellular")
sum_rssi = 0.0
sum_quality = 0.0
num_samples = 3

for _ in range(num_samples):
    signal_strength = hologram.network.signal_strength
    print("Signal strength:", signal_strength)
    rssi, quality = signal_strength.split(",")
    sum_rssi = sum_rssi + int(rssi)
    sum_quality = sum_quality + int(quality)
    time.sleep(0.1)

print("Average RSSI over", num_samples, "samples:", sum_rssi / num_samples)
print("Average quality over", num_samples, "samples:", sum_quality / num_samples)
