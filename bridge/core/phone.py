"""Telephone numbers, as whoever gives one writes them."""

import re

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""At most 15 digits, the country's code first, of which none begins with 0 [ITU-T E.164, section 6]. Below 7
digits are short codes, which take no plus sign."""

E164_ALLOWED = "+ and 7 to 15 digits, the first not 0 (E.164)"
"""The words for it."""
