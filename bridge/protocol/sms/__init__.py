"""SMS as PDUs: bytes in, values out [3GPP TS 23.040, 23.038]."""
