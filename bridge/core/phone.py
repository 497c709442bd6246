"""Telephone numbers in the form in which users write them."""

import re

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""At most 15 digits, beginning with the country code, whose first digit is not 0 [ITU-T E.164, section 6].
Numbers of fewer than 7 digits are short codes, which take no plus sign."""

E164_ALLOWED = "+ and 7 to 15 digits, the first not 0 (E.164)"
"""The same rule in words, for error messages."""
